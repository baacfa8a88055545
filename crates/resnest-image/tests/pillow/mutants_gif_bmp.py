"""GIF and BMP files made and damaged at random: `gif(rng)` and `bmp(rng)` give a name and the bytes."""

import struct

from mutants import damaged, flipped, noise


class Codes:
    """Codes of a growing number of bits."""

    def __init__(self):
        self.value = self.count = 0
        self.out = bytearray()

    def put(self, code, size):
        self.value |= code << self.count
        self.count += size
        while self.count >= 8:
            self.out.append(self.value & 255)
            self.value >>= 8
            self.count -= 8

    def done(self):
        return bytes(self.out) + (bytes([self.value & 255]) if self.count else b"")


def lzw(rng, data, bits):
    """Compressed indices, sometimes with codes where none should be."""
    codes, clear = Codes(), 1 << bits
    size, table, word = bits + 1, {bytes([i]): i for i in range(min(clear, 256))}, b""
    if rng.random() < 0.9:
        codes.put(clear, size)
    following, odd = clear + 2, rng.random() < 0.1
    for i in range(len(data)):
        both = word + data[i : i + 1]
        if both in table:
            word = both
            continue
        codes.put(table[word], size)
        if odd and rng.random() < 0.02:
            codes.put(rng.choice([clear, clear, clear + 1, following, following - 1, following + 1]) % (1 << size), size)
        if following < 4096:
            table[both] = following
            if following == 1 << size and size < 12:
                size += 1
            following += 1
        if following == 4096 and rng.random() < 0.5 or rng.random() < 0.001:
            codes.put(clear, size)
            size, table, following = bits + 1, {bytes([i]): i for i in range(min(clear, 256))}, clear + 2
        word = data[i : i + 1]
    if word:
        codes.put(table[word], size)
    if rng.random() < 0.9:
        codes.put(clear + 1, size)
    return codes.done()


def blocks(rng, data):
    most = rng.choice([255, 255, 255, 1, 7, 100])
    parts = [data[i : i + most] for i in range(0, len(data), most)]
    if parts and rng.random() < 0.05:
        parts.insert(rng.randrange(len(parts)), b"")
    return b"".join(bytes([len(p)]) + p for p in parts)


def extension(rng):
    label = rng.choice([0xF9, 0xF9, 0xFE, 0xFF, 0xFF, 0x01, 0x00, 0x2C])
    if label == 0xF9:
        data = bytes([rng.choice([0, 1, 1, 4, 5, 9, 13]), 0, 0, rng.randrange(256)])[: rng.choice([4, 4, 4, 4, 3, 2, 0, 1])]
        parts = [data]
    elif label == 0xFF:
        parts = [rng.choice([b"NETSCAPE2.0", b"NETSCAPE2.0", b"XMP DataXMP", b""]), b"\1\0\0"][: rng.choice([1, 2, 2])]
    else:
        parts = [noise(rng, rng.choice([0, 3, 40])) for _ in range(rng.randrange(3))]
    out = b"!" + bytes([label]) + b"".join(bytes([len(p)]) + p for p in parts)
    return out + rng.choice([b"\0"] * 9 + [b""])


def table(rng, entries):
    if rng.random() < 0.2:
        return bytes(v for i in range(entries) for v in (i, i, i))
    return noise(rng, 3 * entries)


def image(rng, width, height):
    """A descriptor and its pixels, for a screen of this size."""
    bits = rng.choice([8, 8, 2, 4, 1, 7, 12, 0, 11, 9])
    w, h = rng.choice([(width, height)] * 5 + [(max(width - 3, 1), max(height // 2, 1)), (width + 2, height), (0, 1)])
    x, y = rng.choice([(0, 0)] * 4 + [(1, 2), (3, 0)])
    data = bytes(v % min(1 << bits, 256) for v in noise(rng, w * h))
    way = rng.choice(["whole"] * 10 + ["short", "long"])
    if way == "short":
        data = data[: rng.randrange(len(data) + 1)]
    if way == "long":
        data += noise(rng, 50) if bits == 8 else data[:50]
    packed = lzw(rng, data, bits)
    if rng.random() < 0.06:
        packed, way = flipped(rng, packed, 2), way + "_flip"
    local = rng.choice([0, 0, 0, 1, 3, 8])
    flags = (0x80 | local - 1 if local else 0) | rng.choice([0, 0, 0x40])
    out = b"," + struct.pack("<HHHHB", x, y, w, h, flags) + (table(rng, 1 << local) if local else b"")
    return f"{way}_{bits}", out + bytes([bits]) + blocks(rng, packed) + rng.choice([b"\0"] * 12 + [b""])


def gif(rng):
    width, height = rng.choice([(rng.randrange(1, 40), rng.randrange(1, 30)), (1, 1), (90, 60), (0, 5)])
    screen = rng.choice([0, 2, 8, 8])
    out = rng.choice([b"GIF89a", b"GIF87a"]) + struct.pack(
        "<HHBBB", width, height, (0x80 | screen - 1) if screen else 0, rng.randrange(256), 0)
    out += table(rng, 1 << screen) if screen else b""
    for _ in range(rng.choice([0, 0, 1, 2])):
        out += extension(rng)
    if rng.random() < 0.05:
        out += noise(rng, 3)
    what = ""
    for i in range(rng.choice([1, 1, 1, 2, 3])):
        name, data = image(rng, width, height)
        what = what or name
        out += data
        if rng.random() < 0.3:
            out += extension(rng)
    out += rng.choice([b";", b";", b";", b"", noise(rng, 70), bytes(300)])
    return damaged(rng, "gif_" + what, out, 0.12)


def runs(rng, bits, width, height):
    """Run-length data, mostly of whole rows."""
    out = bytearray()
    for _ in range(height):
        x = 0
        while x < width:
            count = min(rng.randrange(1, 60), width - x)
            way = rng.random()
            if way < 0.5 or count < 3:
                out += bytes([count, rng.randrange(256)])
            elif way < 0.97:
                size = count if bits == 8 else (count + 1) // 2
                out += bytes([0, count]) + noise(rng, size) + bytes(size % 2)
            else:
                out += bytes([0, 2, rng.randrange(4), rng.choice([0, 0, 1])])
            x += count
        out += rng.choice([b"\0\0"] * 9 + [b"", b"\0\0\0\0"])
    return bytes(out) + rng.choice([b"\0\1", b"\0\1", b""])


MASKS = [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0),
         (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
         (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0), (0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0),
         (0xFF, 0xFF00, 0xFF0000, 0), (0xF, 0xF0, 0xF00, 0)]


def bmp(rng):
    bits = rng.choice([1, 4, 8, 8, 16, 24, 24, 32, 32] * 4 + [2, 0, 7])
    width, height = rng.choice([(rng.randrange(1, 50), rng.randrange(1, 30)), (1, 1), (rng.randrange(1, 6), 3)])
    size = rng.choice([40] * 8 + [12, 12, 52, 56, 64, 108, 124, 16, 41])
    compression = rng.choice([0] * 6 + [{8: 1, 4: 2}.get(bits, 3)] * 4 + [1, 2, 3, 4, 5, 6])
    top = rng.random() < 0.25
    right = 1 << min(bits, 8)
    colors = rng.choice([0] * 6 + [right, 2, 1, 3, 20, 256, 257, 300, 65536, 65537, 1 << 31])
    stored = min(colors or right, 70000) if bits <= 8 else 0
    entry = 3 if size == 12 else 4
    if size == 12:
        stored = right if bits <= 8 else 0
    ramp = rng.random() < 0.3
    value = (lambda i: i * 255 % 256) if stored == 2 and rng.random() < 0.7 else (lambda i: i % 256)
    palette = bytes(v for i in range(stored) for v in (value(i),) * 3 + (0,) * (entry - 3)) if ramp else noise(
        rng, entry * stored)
    masks = struct.pack("<4I", *rng.choice(MASKS if rng.random() < 0.3 else MASKS[:1] + MASKS[8:10] + MASKS[3:6]))
    if compression in (1, 2):
        data = runs(rng, 8 if compression == 1 else 4, width, height)
        if rng.random() < 0.1:
            data = flipped(rng, data, 3)
    else:
        data = noise(rng, ((width * bits + 31) // 32 * 4) * height)
    way = rng.choice(["whole"] * 9 + ["short", "padding"])
    if way != "whole":
        data = data[: max(len(data) - (rng.randrange(1, 200) if way == "short" else 3), 0)]
    if size == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", size, width, -height if top else height, 1, bits, compression, len(data), 2835,
                           2835, colors, 0)
        info = (info + masks).ljust(size, b"\0") if size > 40 else info[:size].ljust(size, b"\0")
    extra = masks[:12] if compression == 3 and size == 40 else b""
    gap = noise(rng, rng.choice([0] * 8 + [1, 2, 5]))
    offset = 14 + len(info) + len(extra) + len(palette) + len(gap)
    offset = rng.choice([offset] * 12 + [0, 14 + len(info), offset + 1, offset + 100, 1 << 31])
    out = b"BM" + struct.pack("<IHHI", 14 + len(data), 0, 0, offset) + info + extra + palette + gap + data
    return damaged(rng, f"bmp_{bits}_{compression}_{size}_{way}", out, 0.12)
