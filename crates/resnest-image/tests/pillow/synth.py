"""Pictures for the fixtures, and where the files go."""

from pathlib import Path

import numpy as np
from PIL import Image

FILES = Path(__file__).parent / "files"


def scene(width, height, seed, channels=3):
    """Gradients, edges and noise: something for every part of a codec."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.empty((height, width, channels))
    for c in range(channels):
        fx, fy, p = rng.uniform(0.02, 0.5), rng.uniform(0.02, 0.5), rng.uniform(0, 6)
        out[..., c] = 127 + 90 * np.sin(fx * x + fy * y + p)
        out[..., c] += np.where((x // 7 + y // 5 + c) % 3 == 0, 50, -20)
    out += rng.normal(0, 12, out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)


def rgb(width, height, seed):
    return Image.fromarray(scene(width, height, seed))


def gray(width, height, seed):
    return Image.fromarray(scene(width, height, seed, 1)[..., 0])


def save(name, image, fmt, **options):
    image.save(FILES / name, fmt, **options)


def put(name, data):
    """Writes a file of the fixtures; without a name, only gives its bytes back."""
    if name:
        (FILES / name).write_bytes(data)
    return data
