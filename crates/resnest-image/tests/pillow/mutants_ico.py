"""Icons made and damaged at random, of the bitmaps and PNGs of the other makers: `ico(rng)` gives a name and the bytes."""

import io
import struct

from PIL import Image

from mutants import damaged, noise
from mutants_gif_bmp import bmp
from mutants_png import png


def bitmap(rng):
    """A bitmap as it is in an icon: no file header, twice the height, and a mask."""
    while True:
        name, data = bmp(rng)
        offset = struct.unpack_from("<I", data, 10)[0] if len(data) > 60 else 0
        size = struct.unpack_from("<I", data, 14)[0] if offset else 0
        if size in (40, 108, 124) and rng.random() < 0.97 or size == 12 and rng.random() < 0.3:
            break
    data = bytearray(data[14:])
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 4)
        struct.pack_into("<H", data, 6, min(2 * height, 65535))
    else:
        width, height = struct.unpack_from("<Ii", data, 4)
        struct.pack_into("<i", data, 8, max(min(2 * height + rng.choice([0] * 20 + [1]), 1 << 30), -1 << 30))
    # The pixels begin behind the palette, so a gap of the file's is one of the pixels'.
    bits = struct.unpack_from("<H", data, 10 if size == 12 else 14)[0]
    mask = noise(rng, (min(width, 999) + 31) // 32 * 4 * min(abs(height), 999))
    if rng.random() < 0.1:
        mask = mask[: max(len(mask) - rng.randrange(1, 9), 0)]
    return name, bits, min(width, 999), min(abs(height), 999), bytes(data) + mask


def portable(rng):
    name, data = png(rng)
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except Exception:  # noqa: BLE001 - a damaged one
        width, height = rng.randrange(1, 99), rng.randrange(1, 99)
    return name, rng.choice([32, 32, 0, 8]), width, height, data


def ico(rng):
    pictures = [rng.choice([bitmap, bitmap, portable])(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    count = len(pictures) + rng.choice([0] * 40 + [1, -1])
    out = b"\0\0\1\0" + struct.pack("<H", max(count, 0))
    at = 6 + 16 * len(pictures) + rng.choice([0] * 9 + [3])
    lines, data = b"", b""
    for _, bits, width, height, picture in pictures:
        if rng.random() < 0.1:
            width, height = rng.choice([(16, 16), (0, 0), (width, 1)])
        bits = rng.choice([bits] * 9 + [32, 0, 24])
        lines += struct.pack("<BBBBHHII", width & 255, height & 255, rng.choice([0, 0, 1, 2, 3, 16, 255]), 0, 1, bits,
                             len(picture) + rng.choice([0] * 20 + [4, -4]), at + len(data))
        data += picture
    gap = bytes(max(at - 6 - len(lines), 0))
    what = "_".join(p[0].split("_")[0] for p in pictures)
    return damaged(rng, f"ico_{what}", out + lines + gap + data, 0.12)
