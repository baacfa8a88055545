"""PNM files made and damaged at random: `pnm(rng)` gives a name and the bytes."""

import struct

from mutants import damaged, noise

SPACES = [b" ", b"\n", b"\t", b"\r\n", b"  ", b"\x0b", b"\x0c"]


def space(rng):
    """Between two words; sometimes with a comment, whose line need not end."""
    out = rng.choice([b" ", b"\n"] * 3 + SPACES)
    if rng.random() < 0.08:
        out += b"#" + rng.choice([b"", b" made by hand", b"# 7 8"]) + rng.choice([b"\n", b"\n", b"\r", b"\r\n"])
    return out


def word(rng, number):
    """A number as Python reads it, or nearly."""
    text = str(number)
    if rng.random() < 0.02:
        text = rng.choice(["+" + text, "0" + text, "00" + text, "-" + text, text + ".0", text[:1] + "_" + text[1:],
                           "x" + text, "", text[:1] + "#c\n" + text[1:], "0" * 9 + text, hex(number)])
    return text.encode()


def values(rng, count, most):
    ways = [lambda: rng.randrange(most + 1), lambda: most, lambda: 0, lambda: min(most, rng.randrange(300))]
    out = []
    while len(out) < count:
        out += [rng.choice(ways)()] * rng.choice([1, 1, 1, 3])
    if rng.random() < 0.03 and out:
        out[rng.randrange(count)] = rng.choice([most + 1, 65535, 255])
    return out[:count]


def decimal(rng, magic, count, most):
    if magic == b"P1":
        return b"".join(str(v).encode() + rng.choice([b"", b"", space(rng)]) for v in values(rng, count, 1))
    out = b"".join(word(rng, v) + space(rng) for v in values(rng, count, most))
    return out if rng.random() < 0.7 else out.rstrip()


def binary(rng, magic, width, height, samples, most):
    if magic == b"P4":
        return noise(rng, (width + 7) // 8 * height)
    if magic == b"Pf":
        few = [0.0, -1.0, 0.5, 1.0, 254.99, 255.0, 256.0, 1e9, -1e9, float("nan"), float("inf"), float("-inf")]
        data = [rng.choice([rng.uniform(-10, 300), rng.choice(few)]) for _ in range(width * height)]
        return struct.pack(f"{rng.choice('<>')}{len(data)}f", *data)
    data = values(rng, width * height * samples, most)
    return struct.pack(f">{len(data)}H", *(v & 65535 for v in data)) if most > 255 else bytes(v & 255 for v in data)


def pnm(rng):
    width, height = rng.choice([(rng.randrange(1, 30), rng.randrange(1, 20)), (1, 1), (8, 3), (17, 2)])
    magic = rng.choice([b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"] * 6 + [b"Pf"] * 3 + [
        b"P0CMYK", b"PyP", b"PyRGBA", b"PyCMYK", b"P7", b"PF", b"P8", b"P"])
    samples = {b"P3": 3, b"P6": 3, b"P0CMYK": 4, b"PyRGBA": 4, b"PyCMYK": 4}.get(magic, 1)
    most = rng.choice([255] * 4 + [65535] * 2 + [1, 3, 15, 100, 254, 256, 257, 1000, 1023, 4095, 65534, 0, 65536])
    head = magic + (b"" if magic == b"P0CMYK" and rng.random() < 0.5 else space(rng))
    for side in (width, height):
        head += word(rng, rng.choice([side] * 60 + [0])) + space(rng)
    if magic == b"Pf":
        head += rng.choice([b"-1.0", b"1.0", b"-1", b"1e3", b"0", b"nan", b"-0.0", b"1_0", b"inf"][:4] * 4 + [
            b"0", b"nan", b"-0.0", b"1_0", b"inf", b"-1e999"]) + b"\n"
    elif magic not in (b"P1", b"P4"):
        head += word(rng, most) + rng.choice([b"\n"] * 6 + [space(rng)])
    most = most if magic not in (b"P1", b"P4", b"Pf") else 255
    plain = magic in (b"P1", b"P2", b"P3")
    data = decimal(rng, magic, width * height * samples, most) if plain else binary(
        rng, magic, width, height, samples, most)
    way = rng.choice(["whole"] * 12 + ["short", "long"])
    if way == "short":
        data = data[: max(len(data) - rng.randrange(1, 20), 0)]
    if way == "long":
        data += rng.choice([b"1 0 1\n", b"garbage", b"1", b"12345678901", b"# the end", noise(rng, 30)])
    kind = magic.decode() + ("deep" if most > 255 else "")
    return damaged(rng, f"pnm_{kind}_{way}", head + data, 0.12)
