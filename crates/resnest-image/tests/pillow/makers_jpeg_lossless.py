"""Lossless JPEG (SOF3) of every predictor, sampling and scan layout. The data are any bits: there is no transform
that would need sense in them."""

import struct

from jpeg_writer import adobe, dht, segment
from registry import chance, maker, pick

# DC sizes by code length; 16 is a difference of 32768.
TABLES = [([0, 1, 5, 1, 1, 1, 1, 1, 1], list(range(12))), ([0, 2, 3, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7]),
          ([0, 3, 1, 0, 1, 1], [0, 1, 2, 3, 16, 8])]


def data(rng, length, interval=None):
    """Bytes of a segment, each 0xff stuffed."""
    return rng.bytes(length).replace(b"\xff", b"\xff\0")


def scan(rng, components, restart, rows):
    header = bytes([len(components)]) + b"".join(bytes([c + 1, int(rng.integers(3)) << 4]) for c in components)
    predictor = int(rng.integers(1, 8)) if chance(rng, 0.95) else int(rng.integers(0, 10))
    low = int(rng.integers(8)) if chance(rng, 0.2) else 0
    out = segment(0xDA, header + bytes([predictor, 0, low]))
    for i in range(rows if restart else 1):
        if i:
            number = i - 1 if chance(rng, 0.9) else int(rng.integers(8))
            out += bytes([0xFF, 0xD0 + (number & 7)])
        out += data(rng, int(rng.integers(10, 60 if restart else 4000)))
    return out


@maker("jpeg")
def lossless_any(rng):
    count = pick(rng, [1, 3, 3, 4])
    width, height = int(rng.integers(1, 40)), int(rng.integers(1, 30))
    factors = [(1, 1)] * count
    if chance(rng, 0.5):
        factors = [(pick(rng, [1, 1, 2, 4, 3]), pick(rng, [1, 1, 2, 4, 3])) for _ in range(count)]
    frame = struct.pack(">BHHB", 8, height, width, count)
    frame += b"".join(bytes([c + 1, h << 4 | v, 0]) for c, (h, v) in enumerate(factors))
    out = b"\xff\xd8"
    if count == 3 and chance(rng, 0.15):
        out += segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    if chance(rng, 0.2):
        out += adobe(pick(rng, [0, 0, 1, 2]))
    for number, (counts, values) in enumerate(TABLES):
        out += dht(0, number, counts + [0] * (16 - len(counts)), values)
    out += segment(pick(rng, [0xC3] * 9 + [0xCB]), frame)
    groups = [list(range(count))] if chance(rng, 0.6) else [[c] for c in range(count)]
    restart = chance(rng, 0.4)
    wide = -(-width // max(h for h, _ in factors))
    if restart:
        across = wide if len(groups) == 1 and count > 1 or chance(rng, 0.3) else width
        out += segment(0xDD, struct.pack(">H", across * int(rng.integers(1, 3))))
    for group in groups:
        out += scan(rng, group, restart, height)
    return out + (b"\xff\xd9" if chance(rng, 0.95) else b"")
