"""PNG files made and damaged at random: `png(rng)` gives a name that says what was done, and the bytes."""

import struct
import zlib

from mutants import damaged, flipped, noise

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (16, 4),
         (8, 6), (16, 6)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def filtered(rng, rows, pixel, kinds):
    """Rows of bytes with a filter byte each."""
    out, above = bytearray(), None
    for row in rows:
        kind = rng.choice(kinds)
        out.append(kind)
        above = above or bytes(len(row))
        for i, v in enumerate(row):
            a = row[i - pixel] if i >= pixel else 0
            b, c = above[i], above[i - pixel] if i >= pixel else 0
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((v - [0, a, b, (a + b) // 2, near, 7][kind]) % 256)
        above = row
    return bytes(out)


def pixels(rng, width, height, bits, color, interlaced, kinds=(0, 1, 2, 3, 4)):
    """What zlib compresses, and the bytes of its rows."""
    depth = bits * CHANNELS[color]
    raw, lengths = b"", []
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        w, h = -(-(width - x) // dx), -(-(height - y) // dy)
        if w > 0 and h > 0:
            size = -(-w * depth // 8)
            raw += filtered(rng, [noise(rng, size) for _ in range(h)], max(depth // 8, 1), kinds)
            lengths += [size + 1] * h
    return raw, lengths


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(
        ">I", zlib.crc32(kind + data) if crc is None else crc)


def text(rng):
    """A chunk of text, sometimes broken, sometimes a bomb."""
    key = rng.choice([b"Title", b"k", b"", b"exif", b"XML:com.adobe.xmp", b"interlace", b"transparency", b"bbox",
                      b"Raw profile type exif", b"default_image"])
    size = rng.choice([0, 5, 300, 1 << 20, (1 << 20) + 1, 1100000, 3000000])
    value = bytes(rng.choice([b"a", b"\0", b"\xff", b"\xc3\xa9"])) * size
    packed = zlib.compress(value[:size])
    if rng.random() < 0.3:
        packed = flipped(rng, packed, 2)
    if rng.random() < 0.2:
        packed = packed[: rng.randrange(len(packed) + 1)]
    if rng.random() < 0.1:
        packed += noise(rng, 5)
    kind = rng.choice([b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
    method = rng.choice([0, 0, 0, 0, 1])
    if kind == b"tEXt":
        return kind, key + rng.choice([b"\0", b"\0", b""]) + value[:300]
    if kind == b"iTXt":
        flag = rng.choice([0, 1, 1, 2])
        return kind, key + b"\0" + bytes([flag, method]) + rng.choice([b"en", b"", b"\xff"]) + b"\0k" + rng.choice(
            [b"\0", b"\0", b""]) + (packed if flag else value[:300])
    return kind, key + rng.choice([b"\0", b"\0", b"\0", b""]) + rng.choice([bytes([method]), b""]) + packed


def ancillary(rng, width, height):
    name = rng.choice([b"tRNS", b"PLTE", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"eXIf", b"bKGD", b"prVt", b"IHDR", b"acTL",
                       b"fcTL", b"fdAT", b"tIME", b"IEND", b"ab_1", b"text", b"text", b"fcTL", b"acTL"])
    if name == b"text":
        return text(rng)
    if name == b"acTL":
        return name, struct.pack(">II", rng.choice([0, 1, 2, 2, 1 << 31, (1 << 31) + 1]), 0)[: rng.choice([8, 8, 8, 7])]
    if name == b"fcTL":
        w, h = (rng.choice([n, n, max(n - 3, 0), n + 1]) for n in (width, height))
        x, y = (rng.choice([0, 0, 0, 1, 3]) for _ in "xy")
        return name, struct.pack(">IIIIIHHBB", rng.choice([0, 0, 0, 1, 2]), w, h, x, y, 1, 10, rng.choice([0, 1, 2]), 0)
    if name == b"fdAT":
        return name, struct.pack(">I", rng.choice([0, 1, 2])) + noise(rng, 20)
    if name == b"IHDR":
        bits, color = rng.choice(KINDS + [(3, 0), (8, 1)])
        return name, struct.pack(">IIBBBBB", rng.choice([width, 5]), height, bits, color, 0, rng.choice([0, 0, 1]), 0)
    right = {b"tRNS": 6, b"PLTE": 768, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"eXIf": 26}.get(name, 5)
    length = rng.choice([right, right, right, max(right - 1, 0), right + 1, 0, 2, rng.randrange(800)])
    data = noise(rng, length)
    return name, rng.choice([data, b"\xff" * min(length, 3) + b"\0" + b"\xff" * 3])


def stream(rng, raw, lengths):
    """The compressed rows, sometimes ending early or late, or broken at the end."""
    what = rng.choice(["plain"] * 24 + ["adler", "adler", "rows", "rows", "row_part", "longer", "garbage", "cut", "dict",
                                       "flush", "window", "flip"])
    if what == "rows":
        raw = raw[: sum(lengths[: rng.randrange(len(lengths) + 1)])]
    if what == "row_part":
        raw = raw[: rng.randrange(len(raw) + 1)]
    if what == "longer":
        raw += noise(rng, rng.choice([1, 5, lengths[-1], 4000]))
    packer = zlib.compressobj(rng.choice([0, 1, 6, 9]), zlib.DEFLATED, rng.choice([9, 12, 15]), 8,
                              rng.choice([0, 1, 2, 3, 4]))
    if what == "flush":
        half = rng.randrange(len(raw) + 1)
        packed = packer.compress(raw[:half]) + packer.flush(rng.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
        packed += packer.compress(raw[half:]) + packer.flush()
    else:
        packed = packer.compress(raw) + packer.flush()
    if what == "adler":
        packed = packed[:-4] + rng.choice([b"\0\0\0\0", b"", packed[-4:-1], noise(rng, 4)])
    if what == "garbage":
        packed += noise(rng, rng.choice([1, 10, 70000]))
    if what == "cut":
        packed = packed[: rng.randrange(len(packed))]
    if what == "dict":
        packed = bytes([packed[0], 0x20 | packed[1]]) + packed[2:]
    if what == "window":
        head = rng.choice([0x08, 0x18, 0x88, 0x79]) << 8
        packed = struct.pack(">H", head + 31 - head % 31) + packed[2:]
    if what == "flip":
        packed = flipped(rng, packed, 1)
    return what, packed


def split(rng, packed):
    """The stream over chunks of pixels."""
    way = rng.choice(["one", "one", "few", "bytes", "tail"])
    cuts = {"one": [], "few": sorted(rng.sample(range(len(packed) + 1), min(3, len(packed)))),
            "bytes": list(range(min(len(packed), 60))), "tail": [max(len(packed) - rng.randrange(9), 0)]}[way]
    if rng.random() < 0.2:
        cuts += [cuts[-1] if cuts else 0] * 2
    cuts = sorted(cuts)
    return way, [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)])]


def palette(rng, bits):
    return noise(rng, rng.choice([3 << bits] * 4 + [3, 0, 7, 768, 769, 770, 771, 774]))


def png(rng):
    bits, color = rng.choice(KINDS)
    width, height = rng.choice([(1, 1), (rng.randrange(1, 40), rng.randrange(1, 30)), (rng.randrange(1, 9), 7),
                                (300, 2), (2, 300)])
    interlaced = rng.random() < 0.35
    raw, lengths = pixels(rng, width, height, bits, color, interlaced,
                          rng.choice([(0, 1, 2, 3, 4)] * 12 + [(0,), (4,), (3,), (0, 0, 0, 0, 5)]))
    what, packed = stream(rng, raw, lengths)
    way, parts = split(rng, packed)
    head = [width, height, bits, color, 0, 0, int(interlaced)]
    if rng.random() < 0.08:
        head[rng.randrange(2, 7)] = rng.randrange(256) if rng.random() < 0.5 else rng.randrange(5)
        what += "_header"
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *head))]
    if color == 3 and rng.random() < 0.95 or rng.random() < 0.05:
        chunks.append((b"PLTE", palette(rng, min(bits, 8))))
    frames = rng.random() < 0.12
    if frames:
        what += "_apng"
        chunks.append((b"acTL", struct.pack(">II", 2, 0)))
        if rng.random() < 0.7:
            chunks.append((b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)))
    if frames and rng.random() < 0.3:
        chunks += [(b"fdAT", struct.pack(">I", i + 1) + part) for i, part in enumerate(parts)]
    else:
        chunks += [(rng.choice([b"IDAT"] * 40 + [b"DDAT"]) if i else b"IDAT", part) for i, part in enumerate(parts)]
    chunks.append((b"IEND", b""))
    for _ in range(rng.choice([0] * 6 + [1, 1, 1, 2])):
        name, data = ancillary(rng, width, height)
        chunks.insert(rng.randrange(len(chunks) + 1), (name, data))
        what += "_" + name.decode()
    turn = rng.random()
    if turn < 0.05:
        chunks.pop(rng.randrange(len(chunks)))
        what += "_without"
    elif turn < 0.08:
        i, j = rng.randrange(len(chunks)), rng.randrange(len(chunks))
        chunks[i], chunks[j] = chunks[j], chunks[i]
        what += "_swapped"
    elif turn < 0.12:
        chunks = [c for c in chunks if c[0] != b"IEND"]
        what += "_noend"
    wrong = rng.randrange(len(chunks)) if rng.random() < 0.12 and chunks else None
    out = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, data, 12345 if i == wrong else None) for i, (name, data) in enumerate(chunks))
    if wrong is not None:
        what += "_crc"
    return damaged(rng, f"png_{what}_{way}_{bits}_{color}", out, 0.15)
