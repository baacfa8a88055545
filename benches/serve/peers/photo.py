"""From a JPEG to resnest50d's input and from its logits to an answer, as timm's evaluation does it: for every peer.

Resize the short side to 256 with Pillow's bilinear filter, cut 224 out of the middle, normalise. Only the middle is
ever resized: Pillow computes the same pixels from a box of the photo, with less work.
"""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

SIDE = 224
CROP = 0.875
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SCALE = 1 / (255 * STD)
SHIFT = -MEAN / STD


def pixels(data: bytes) -> np.ndarray:
    """(224, 224, 3) u8."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = int(SIDE / CROP)
    width, height = image.size
    if width <= height:
        size = (short, int(short * height / width))
    else:
        size = (int(short * width / height), short)
    left, top = (round((side - SIDE) / 2) for side in size)
    across, down = width / size[0], height / size[1]
    box = (left * across, top * down, (left + SIDE) * across, (top + SIDE) * down)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))


def tensor(data: bytes) -> np.ndarray:
    """(3, 224, 224) f32, normalised."""
    normalised = pixels(data) * SCALE
    normalised += SHIFT
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def best(logits: np.ndarray, count: int = 5) -> list[dict]:
    """The best classes of one image: index and probability."""
    exponentials = np.exp(logits - logits.max())
    top = np.argpartition(logits, -count)[-count:]
    top = top[np.argsort(-logits[top])]
    scores = exponentials[top] / exponentials.sum()
    return [{"index": int(index), "score": float(score)} for index, score in zip(top, scores, strict=True)]


def answer(logits: np.ndarray) -> bytes:
    """The best five as JSON."""
    return json.dumps(best(logits)).encode()
