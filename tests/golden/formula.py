"""Weights and images from a formula, so that full-size references store none.

`formula.rs` beside this computes the same numbers: every step is an integer operation or a single IEEE f32/f64
operation, so the two agree bit for bit.
"""

import math

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def fnv1a(text: str) -> int:
    """64-bit FNV-1a of a tensor's name: the seed of its values."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name: str, count: int, start: int = 0) -> np.ndarray:
    """f32 values in [-1, 1) at indices start..start+count: the top 24 bits of splitmix64, exact in f32."""
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(fnv1a(name))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float32) - np.float32(1 << 23)) * np.float32(2.0**-23)


def weight(name: str, shape: tuple, norm: dict, head_scale: float, last=(".bn3",)) -> np.ndarray:
    """The tensor `name` of a network. `norm` maps a norm's name to the (mean, variance) measured before it; `last` are
    the endings of the names of the norms that end a block."""
    u = uniform(name, math.prod(shape)).reshape(shape)
    module, _, field = name.rpartition(".")
    f = np.float32
    if name in ("fc.weight", "last_linear.weight"):
        return u * f(head_scale)
    if len(shape) == 4:  # He's variance 2 / fan_in
        return u * f(math.sqrt(6.0 / math.prod(shape[1:])))
    if field == "running_mean":
        return np.full(shape, norm[module][0], dtype=np.float32)
    if field == "running_var":
        return f(norm[module][1]) * (f(1.0) + f(0.2) * u)
    if field == "bias":
        return f(0.1) * u
    # A norm's weight; small at the end of a block, so that the shortcut dominates as in a trained network.
    return f(0.2 if module.endswith(tuple(last)) else 1.0) * (f(1.0) + f(0.1) * u)


def image(chans: int, height: int, width: int) -> np.ndarray:
    """A normalised image (1, chans, height, width): patches of 32 pixels in flat colours, and noise on them."""
    c, y, x = np.ogrid[:chans, :height, :width]
    cells = uniform("image.cells", chans * 32 * 32).reshape(chans, 32, 32)
    noise = uniform("image.noise", chans * height * width).reshape(chans, height, width)
    return (np.float32(1.5) * cells[c, y // 32, x // 32] + np.float32(0.5) * noise)[None]
