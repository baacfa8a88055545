"""QOI files made and damaged at random: `qoi(rng)` gives a name and the bytes."""

import struct

from mutants import damaged, noise


def chunks(rng, pixels):
    """Chunks of every kind for so many pixels, whatever picture they make."""
    out, count = b"", 0
    while count < pixels:
        way = rng.randrange(6)
        count += 1
        if way == 0:
            run = min(rng.choice([1, 2, 10, 62]), 62)
            out += bytes([0xC0 | run - 1])
            count += run - 1
        elif way == 1:
            out += bytes([rng.randrange(64)])
        elif way == 2:
            out += bytes([0x40 | rng.randrange(64)])
        elif way == 3:
            out += bytes([0x80 | rng.randrange(64), rng.randrange(256)])
        elif way == 4:
            out += b"\xfe" + noise(rng, 3)
        else:
            out += b"\xff" + noise(rng, 4)
    return out


def qoi(rng):
    width, height = rng.choice([(rng.randrange(1, 40), rng.randrange(1, 30)), (1, 1), (90, 2), (5, 0)][: 3 + (
        rng.random() < 0.1)])
    data = chunks(rng, width * height)
    way = rng.choice(["whole"] * 9 + ["short", "random"])
    if way == "short":
        data = data[: max(len(data) - rng.randrange(1, 9), 0)]
    if way == "random":
        data = noise(rng, width * height * 2)
    channels = rng.choice([3, 4] * 5 + [0, 1, 255])
    head = b"qoif" + struct.pack(">IIBB", width, height, channels, rng.choice([0, 1, 1, 7]))
    end = rng.choice([b"\0" * 7 + b"\1"] * 4 + [b"", noise(rng, 9)])
    return damaged(rng, f"qoi_{channels}_{way}", head + data + end, 0.12)
