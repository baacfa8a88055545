"""WebP files made and damaged at random: `webp(rng)` gives a name that says what was done, and the bytes."""

import io
import struct

import numpy as np
from PIL import Image

from mutants import damaged, flipped, noise


def picture(rng, width, height, mode):
    channels = {"RGB": 3, "RGBA": 4}[mode]
    if rng.random() < 0.5:
        data = np.frombuffer(noise(rng, width * height * channels), np.uint8)
        return Image.fromarray(data.reshape(height, width, channels))
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x * rng.uniform(0, 1) + y * rng.uniform(0, 1) + c) for c in range(channels)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def encoded(rng, width, height):
    """A file by Pillow, still or animated."""
    mode = rng.choice(["RGB", "RGB", "RGBA"])
    options = {"lossless": rng.random() < 0.4, "quality": rng.choice([0, 30, 75, 100]), "method": rng.choice([0, 2, 4]),
               "exact": rng.random() < 0.5, "alpha_quality": rng.choice([0, 50, 100])}
    if rng.random() < 0.2:
        options["exif"] = b"Exif\0\0II*\0\x08\0\0\0\0\0"
    if rng.random() < 0.1:
        options["icc_profile"] = noise(rng, 60)
    out, frames = io.BytesIO(), []
    if rng.random() < 0.35:
        frames = [picture(rng, width, height, mode) for _ in range(rng.randrange(1, 3))]
        options |= {"save_all": True, "append_images": frames, "background": tuple(rng.randrange(256) for _ in "rgba"),
                    "allow_mixed": rng.random() < 0.2, "minimize_size": rng.random() < 0.2}
    picture(rng, width, height, mode).save(out, "WEBP", **options)
    return ("animated" if frames else "still") + ("_lossless" if options["lossless"] else ""), out.getvalue()


def chunks(data):
    """Names and payloads up to the first that does not fit."""
    at, out = 0, []
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        if at + 8 + size > len(data):
            break
        out.append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return out


def joined(parts, lie=None, rng=None):
    out = b""
    for i, (name, payload) in enumerate(parts):
        size = len(payload)
        if i == lie:
            size = rng.choice([size + 1, size + 2, max(size - 1, 0), max(size - 2, 0), 0, size * 2, 1 << 31, (1 << 32) - 1])
        out += name + struct.pack("<I", size) + payload + b"\0" * (len(payload) % 2)
    return out


def rearranged(rng, parts):
    """Chunks dropped, doubled, swapped, added, or lying about their size."""
    way = rng.choice(["drop", "double", "swap", "add", "lie", "lie", "flags", "size", "frame", "inside", "inside", "rename"])
    parts, lie, i = list(parts), None, rng.randrange(len(parts))
    name, payload = parts[i]
    if way == "drop":
        parts.pop(i)
    elif way == "double":
        parts.insert(i, parts[rng.randrange(len(parts))])
    elif way == "swap":
        j = rng.randrange(len(parts))
        parts[i], parts[j] = parts[j], parts[i]
    elif way == "add":
        parts.insert(i + rng.randrange(2), (rng.choice([b"ALPH", b"EXIF", b"XMP ", b"ICCP", b"ANIM", b"abcd"]), noise(rng, rng.randrange(30))))
    elif way == "lie":
        lie = i
    elif way == "flags" and parts[0][0] == b"VP8X":
        head = bytearray(parts[0][1])
        head[0] ^= 1 << rng.randrange(8)
        parts[0] = (b"VP8X", bytes(head))
    elif way == "size" and parts[0][0] == b"VP8X":
        head = bytearray(parts[0][1])
        at = rng.choice([4, 7])
        head[at] = (head[at] + rng.choice([1, 255, 2, 16])) % 256
        parts[0] = (b"VP8X", bytes(head))
    elif way == "frame" and name == b"ANMF":
        head = bytearray(payload)
        at = rng.choice([0, 3, 6, 9, 12, 15, 15, 15])
        head[at] ^= 1 << rng.randrange(3)
        parts[i] = (name, bytes(head))
    elif way == "inside" and name == b"ANMF":
        inner = chunks(payload[16:])
        if inner:
            what, inner = rearranged(rng, inner)
            return "inside_" + what, parts[:i] + [(name, payload[:16] + inner)] + parts[i + 1:]
    elif way == "inside":
        parts[i] = (name, flipped(rng, payload, 2))
    elif way == "rename":
        parts[i] = (rng.choice([b"VP8 ", b"VP8L", b"ALPH", b"VP8X", b"ANMF"]), payload)
    return way, joined(parts, lie, rng)


def webp(rng):
    width, height = rng.choice([(rng.randrange(1, 50), rng.randrange(1, 40)), (1, 1), (16, 16), (rng.randrange(1, 8), 9)])
    what, data = encoded(rng, width, height)
    if rng.random() < 0.5:
        parts = chunks(data[12:])
        if parts[0][0] != b"VP8X" and rng.random() < 0.5:
            flags = rng.choice([0, 8, 16, 2, 44])
            parts.insert(0, (b"VP8X", bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]))
        way, body = rearranged(rng, parts)
        if isinstance(body, list):
            body = joined(body)
        what += "_" + way
        data = b"RIFF" + struct.pack("<I", len(body) + 4 + rng.choice([0] * 9 + [2, -2, 1])) + b"WEBP" + body
    return damaged(rng, "webp_" + what, data, 0.35)
