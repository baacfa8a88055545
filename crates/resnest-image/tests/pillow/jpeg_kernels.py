"""What Pillow's libjpeg-turbo makes of single blocks, rows and colours, for the decoder's inner loops.

    python crates/resnest-image/tests/pillow/jpeg_kernels.py

Writes jpeg_kernels.json next to this script: coefficients that no encoder writes (they overflow 16 bits when
dequantised, saturate in the first pass, or have no AC) with their 64 samples; chroma planes before and after
upsampling; planes before and after colour conversion. Numbers are hexadecimal, little endian.
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, features

from jpeg_writer import LUMA, ZIGZAG, Component, Picture, file, join

HERE = Path(__file__).parent


def blocks(rng, count):
    """(count, 64) coefficients in natural order, of every kind in turn."""
    out = np.zeros((count, 64), int)
    for n in range(count):
        kind, block = n % 10, out[n]
        large = rng.integers(-32767, 32768, 64)
        if kind == 0:  # sane
            block[:] = rng.normal(0, 40, 64) / (1 + np.arange(64) / 4)
        elif kind == 1:  # a few extremes
            at = rng.integers(0, 64, 3)
            block[at] = large[at]
        elif kind == 2:  # only the DC
            block[0] = large[0]
        elif kind == 3:  # only the first row: the short cut of the column pass
            block[:8] = large[:8]
        elif kind == 4:  # only the first column
            block[::8] = large[::8]
        elif kind == 5:
            block[:] = large
        elif kind == 6:  # around the saturation of the first pass
            block[:8] = rng.integers(-9000, 9000, 8)
            block[8:16] = rng.integers(-3, 4, 8)
        elif kind == 7:  # all as large as can be
            block[:] = rng.choice([-32767, 32767], 64)
        elif kind == 8:  # around the range limit
            block[0] = rng.integers(-1100, 1100)
            block[1:] = rng.normal(0, 60, 63)
        else:
            at = rng.integers(1, 64)
            block[[0, at]] = rng.integers(-2000, 2000), large[at]
    return out


def gray_file(coefficients, quant, columns):
    """Rows of blocks as a grey picture; every block is an interval, so that its DC may have any value."""
    rows = len(coefficients) // columns
    component = Component(1, 1, 1, 0, coefficients[:, ZIGZAG].reshape(rows, columns, 64))
    picture = Picture(columns * 8, rows * 8, [component], {0: quant})
    return join(file(picture, restart=1))


def read(data, mode=None):
    image = Image.open(io.BytesIO(data))
    if mode:
        image.draft(mode, None)
    return np.asarray(image)


def words(values):
    return (np.asarray(values) & 0xFFFF).astype("<u2").tobytes().hex()


def transforms():
    rng = np.random.default_rng(1)
    quants = [np.ones(64, int), LUMA, np.full(64, 255), rng.integers(0, 256, 64), rng.integers(1, 65536, 64),
              np.full(64, 32768), np.full(64, 65535), rng.choice([1, 2, 4, 1000, 40000], 64)]
    cases = []
    for quant in quants:
        coefficients = blocks(rng, 20)
        samples = read(gray_file(coefficients, quant, 1)).reshape(-1, 64)
        cases += [{"quant": words(quant), "coefficients": words(c), "samples": s.tobytes().hex()}
                  for c, s in zip(coefficients, samples)]
    return cases


def three(rng, width, height, factors, ident_kind="ycc"):
    """A picture of rough planes, and each plane as a grey file of its own size gives it."""
    max_h, max_v = max(h for h, _ in factors), max(v for _, v in factors)
    across, down = -(-width // (8 * max_h)), -(-height // (8 * max_v))
    quant = np.full(64, 8)
    components, planes = [], []
    for i, (h, v) in enumerate(factors):
        rows, columns = down * v, across * h
        coefficients = np.zeros((rows * columns, 64), int)
        coefficients[:, 0] = rng.integers(-128, 128, rows * columns)
        coefficients[:, 1:] = rng.normal(0, 12, (rows * columns, 63)) * (rng.random((rows * columns, 63)) < 0.4)
        plane = read(gray_file(coefficients, quant, columns))
        planes.append(plane[: -(-height * v // max_v), : -(-width * h // max_h)])
        components.append(Component(i + 1, h, v, 0, coefficients[:, ZIGZAG].reshape(rows, columns, 64)))
    return Picture(width, height, components, {0: quant}), planes


def upsampled():
    rng = np.random.default_rng(2)
    cases = []
    for kind, (h, v) in {"h2v1": (2, 1), "h2v2": (2, 2), "h1v2": (1, 2)}.items():
        for width in (1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 97, 129, 132):
            picture, planes = three(rng, width * h, 4 * v, [(h, v), (1, 1), (1, 1)])
            whole = read(join(file(picture)), "YCbCr")
            for i in (1, 2):
                cases.append({"kind": kind, "width": planes[i].shape[1], "input": planes[i].tobytes().hex(),
                              "output": whole[..., i].tobytes().hex()})
    return cases


def coloured():
    rng = np.random.default_rng(3)
    cases = []
    for width in (1, 31, 67, 128):
        picture, planes = three(rng, width, 16, [(1, 1)] * 3)
        cases.append({"kind": "ycc", "planes": [p.tobytes().hex() for p in planes],
                      "pixels": read(join(file(picture))).tobytes().hex()})
        picture, planes = three(rng, width, 16, [(1, 1)] * 4)
        # Pillow inverts what libjpeg gives.
        pixels = 255 - read(join(file(picture, jfif=False, adobe_transform=2)))
        cases.append({"kind": "ycck", "planes": [p.tobytes().hex() for p in planes],
                      "pixels": pixels.tobytes().hex()})
    return cases


def main():
    turbo = features.version_feature("libjpeg_turbo")
    lists = {"blocks": transforms(), "rows": upsampled(), "colours": coloured()}
    body = ",\n".join(f'"{name}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]" for name, cases in lists.items())
    (HERE / "jpeg_kernels.json").write_text(f'{{"libjpeg_turbo": "{turbo}",\n{body}\n}}\n')


if __name__ == "__main__":
    main()
