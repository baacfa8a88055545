"""TIFF files made and damaged at random: `tiff(rng)` gives a name that says what was done, and the bytes."""

import numpy as np

import tiff_files
from mutants import damaged, flipped, noise

# Photometric interpretation, bits, samples, extra samples.
KINDS = [(0, 1, 1, None), (0, 2, 1, None), (0, 4, 1, None), (0, 8, 1, None), (1, 1, 1, None), (1, 2, 1, None),
         (1, 4, 1, None), (1, 8, 1, None), (1, 16, 1, None), (0, 16, 1, None), (1, 8, 2, [0]), (1, 8, 2, [1]),
         (1, 8, 2, [2]), (2, 8, 3, None), (2, 8, 3, None), (2, 8, 4, None), (2, 8, 4, [0]), (2, 8, 4, [1]), (2, 8, 4, [2]),
         (2, 8, 4, [999]), (2, 8, 5, [0, 0]), (2, 8, 5, [1, 0]), (2, 8, 5, [2, 0]), (2, 8, 6, [0, 0, 0]),
         (2, 8, 6, [2, 0, 0]), (2, 16, 3, None), (2, 16, 4, None), (2, 16, 4, [0]), (2, 16, 4, [1]), (2, 16, 4, [2]),
         (3, 1, 1, None), (3, 2, 1, None), (3, 4, 1, None), (3, 8, 1, None), (3, 8, 2, [0]), (3, 8, 2, [2]),
         (5, 8, 4, None), (5, 8, 5, [0]), (5, 8, 6, [0, 0]), (5, 16, 4, None), (6, 8, 1, None), (6, 8, 3, None),
         (8, 8, 3, None), (1, 12, 1, None), (1, 32, 1, None), (2, 8, 7, [0] * 4), (4, 1, 1, None)]

NUMBERS = [256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 700]
TYPES = [1, 2, 3, 3, 3, 4, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 99]


def changed(rng, tags_of):
    """One tag made strange: missing, 0, huge, of another type or count."""
    tag = rng.choice(NUMBERS)
    way = rng.choice(["missing", "zero", "huge", "type", "short", "long", "value", "value", "negative"])
    if way == "missing":
        return {tag: None}, f"{tag}_missing"
    kinds = {1: 255, 3: 65535, 4: 2**32 - 1, 16: 2**63}

    def change(old):
        kind, values = old or (3, [1])
        if way == "zero":
            return kind, [0] * len(values)
        if way == "huge":
            return kind, [rng.choice([kinds.get(kind, 100), kinds.get(kind, 100) // 2 + 1])] * len(values)
        if way == "negative":
            return rng.choice([8, 9]), [-1] * len(values)
        if way == "type":
            new = rng.choice(TYPES)
            top = {1: 255, 2: 255, 6: 127, 7: 255, 3: 65535, 8: 32767, 99: 65535}.get(new, 2**31 - 1)
            values = [min(v, top) for v in values]
            return new, [v for v in values for v in (v, 1)] if new == 5 else values
        if way == "short":
            return kind, values[: rng.randrange(len(values) + 1)]
        if way == "long":
            return kind, values + [rng.choice([values[-1] if values else 0, 0, 7, 300])] * rng.choice([1, 2, 40])
        values = list(values) or [0]
        values[rng.randrange(len(values))] = rng.choice([0, 1, 2, 3, 5, 7, 8, 16, 50, 255])
        return kind, values

    return {tag: change}, f"{tag}_{way}"


def tiff(rng):
    photometric, bits, samples, extra = rng.choice(KINDS)
    width, height = rng.choice([(rng.randrange(1, 50), rng.randrange(1, 40)), (rng.randrange(1, 8), rng.randrange(1, 8)), (1, 1)])
    data = np.frombuffer(noise(rng, width * height * samples * 4), "<u4").reshape(height, width, samples)
    top = rng.choice([1 << bits, 1 << bits, min(1 << bits, 300)])
    options = {"endian": rng.choice("<<>"), "extra": extra, "big": rng.random() < 0.08}
    options["compression"] = rng.choice([1, 1, 1, 5, 5, 8, 32946, 32773, 32773] * 4 + [7, 2, 99])
    if options["compression"] in (7, 2, 99):
        options["change"] = {259: (3, [options.pop("compression")])}
    if bits >= 8 and rng.random() < 0.35:
        options["predictor"] = rng.choice([2, 2, 2, 3])
    if rng.random() < 0.25 and bits >= 8:
        options["planar"] = 2
    cut = rng.random()
    if cut < 0.3:
        options["rows_per_strip"] = rng.randrange(1, height + 3)
    elif cut < 0.6:
        options["tile"] = rng.choice([16, 16, 32, 8, 5])
    if photometric == 3:
        entries = rng.choice([1 << bits] * 8 + [3, 256, 257, 0])
        options["colormap"] = [rng.randrange(65536) for _ in range(3 * entries + rng.choice([0, 0, 0, 1]))] or [1]
    if rng.random() < 0.2:
        options["orientation"] = rng.randrange(0, 11)
    if rng.random() < 0.05:
        options["xmp"] = rng.choice([b'a tiff:Orientation="6"', b"<tiff:Orientation>8</tiff:Orientation>", b"tiff:Orientation=x",
                                     b'tiff:Orientation="x" tiff:Orientation="3"'])
    if bits == 8 and samples == 1 and rng.random() < 0.05:
        options["fmt"] = 2
    what = ""
    if rng.random() < 0.3:
        change, what = changed(rng, options)
        options["change"] = options.get("change", {}) | change
    break_data = rng.choice([None] * 12 + ["flip", "short", "tail", "odd"])
    if break_data:
        what += "_" + break_data
    options["broken"] = (lambda block: broken(rng, break_data, block)) if break_data else None
    whole = options.pop("broken")
    tiff_files.BROKEN = whole
    try:
        out = tiff_files.tiff(None, data % top if bits < 32 else data, bits if bits != 12 else 16, photometric, **options)
    finally:
        tiff_files.BROKEN = None
    name = f"tiff_{what}_{photometric}_{bits}x{samples}_{options.get('compression')}_{options.get('planar', 1)}"
    return damaged(rng, name, out, 0.12)


def broken(rng, way, block):
    """A strip or tile that is not what it should be, one time in three."""
    if rng.random() < 0.66 or not block:
        return block
    if way == "flip":
        return flipped(rng, block, 2)
    if way == "short":
        return block[: rng.randrange(len(block))] if rng.random() < 0.5 else block[: -rng.randrange(1, 7)]
    if way == "odd":
        return block[rng.choice([1, 2]):]
    return block + noise(rng, rng.randrange(1, 9))
