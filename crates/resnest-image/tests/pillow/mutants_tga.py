"""TGA files made and damaged at random: `tga(rng)` gives a name and the bytes."""

import struct

from mutants import damaged, flipped, noise

# Type and depth, most of them pairs that there are.
KINDS = [(1, 8), (2, 16), (2, 24), (2, 32), (3, 8), (3, 16)] * 6 + [
    (3, 1), (3, 1), (1, 16), (2, 8), (2, 15), (3, 24), (3, 32), (1, 24), (1, 1), (0, 8), (4, 8), (7, 24), (2, 1)]


def packets(rng, data, size, width):
    """Packets of run lengths, mostly inside their rows; literal ones may cross them."""
    pixels = [data[i : i + size] for i in range(0, len(data), size)]
    out, at = b"", 0
    crossing = rng.random() < 0.3
    while at < len(pixels):
        left = width - at % width
        same = 1
        while same < 128 and at + same < len(pixels) and pixels[at + same] == pixels[at]:
            same += 1
        if same > 1 and rng.random() < 0.9:
            count = same if rng.random() < 0.005 else min(same, left)
            out += bytes([0x80 | count - 1]) + pixels[at]
        else:
            count = min(rng.randrange(1, 129) if crossing else rng.randrange(1, 9), len(pixels) - at)
            count = count if crossing else min(count, left)
            out += bytes([count - 1]) + b"".join(pixels[at : at + count])
        at += count
    return out


def colour_map(rng):
    """First entry, number of entries, bits of an entry, and the bytes."""
    bits = rng.choice([24, 24, 24, 32, 16, 15, 8, 0])
    first = rng.choice([0] * 6 + [1, 3, 200])
    count = rng.choice([256, 256, 16, 2, 0, 100, 257, 300])
    if rng.random() < 0.7:
        first, count = min(first, 256), min(count, 256 - min(first, 256))
    return first, count, bits, noise(rng, (bits + 7) // 8 * count)


def tga(rng):
    width, height = rng.choice([(rng.randrange(1, 30), rng.randrange(1, 20)), (1, 1), (3, 2), (150, 2), (0, 4)][: 4 + (
        rng.random() < 0.2)])
    kind, depth = rng.choice(KINDS)
    mapped = rng.random() < (0.95 if kind == 1 else 0.1)
    first, count, bits, entries = colour_map(rng) if mapped else (0, 0, 0, b"")
    if not mapped and rng.random() < 0.05:
        first, count, bits = rng.choice([0, 1, 0xAF11]), rng.choice([0, 1, 256]), rng.choice([0, 1, 2, 24])
    identification = noise(rng, rng.choice([0] * 8 + [1, 10, 12, 13, 28, 42, 65, 200, 255]))
    data = noise(rng, (width * depth + 7) // 8 * height)
    packed = rng.random() < 0.5
    if packed and depth >= 8:
        data = packets(rng, data, depth // 8, max(width, 1))
        if rng.random() < 0.1:
            data = flipped(rng, data, 2)
    flags = rng.choice([0, 0x10, 0x20, 0x30]) | rng.choice([0, 8, 0x40, 15])
    origin = rng.choice([(0, 0)] * 5 + [(0, height), (7, 9)])
    head = struct.pack("<BBBHHBHHHHBB", len(identification), rng.choice([int(mapped)] * 30 + [2]),
                       kind + 8 * packed, first, count, bits, *origin, width, height, depth, flags)
    footer = b"TRUEVISION-XFILE.\0"
    end = rng.choice([b"", struct.pack("<II", 0, 0) + footer, struct.pack("<II", 1, 2) + footer,
                      struct.pack("<II", 1 << 31, 2) + footer, noise(rng, 30)])
    way = rng.choice(["whole"] * 10 + ["short"])
    if way == "short":
        data, end = data[: max(len(data) - rng.randrange(1, 20), 0)], b""
    name = f"tga_{kind}_{depth}{'_rle' if packed else ''}{'_map' if mapped else ''}_{way}"
    return damaged(rng, name, head + identification + entries + data + end, 0.12)
