"""The options and pictures that transforms are compared over, for record.py and the tests."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

Options = dict[str, Any]

FILTERS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]


def options() -> Iterator[Options]:
    """Arguments of `create_transform`: every filter with every crop, then sizes, then means."""
    for interpolation, crop_mode in itertools.product(FILTERS, ["center", "squash", "border"]):
        for crop_pct in (0.875, 1.0):
            yield {
                "input_size": 224,
                "interpolation": interpolation,
                "crop_mode": crop_mode,
                "crop_pct": crop_pct,
            }
    for size in (32, 48, 160, 288, 320, (3, 256, 256), (3, 224, 320), (192, 128), (3, 600, 500)):
        for crop_mode in ("center", "squash", "border"):
            yield {"input_size": size, "crop_mode": crop_mode, "crop_pct": 0.95, "interpolation": "bicubic"}
    yield {}
    yield {"input_size": (3, 224, 224), "crop_pct": None, "crop_mode": None}
    yield {"input_size": 64, "crop_pct": 0.5}
    yield {"input_size": 64, "crop_pct": 1.3, "crop_mode": "border"}
    for mean, std in [((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3), ((0.1, 0.7, 0.33), (0.9, 0.21, 0.4))]:
        yield {"input_size": 96, "mean": mean, "std": std, "crop_mode": "border", "crop_pct": 0.9}


def pictures(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """RGB pictures of awkward sizes, made from the demo photos."""
    cat = Image.open(folder / "chelsea.png").convert("RGB")
    horse = Image.open(folder / "horse.png").convert("RGB")
    yield "chelsea", cat
    yield "horse", horse
    for size in [(500, 375), (333, 500), (37, 41), (1000, 20), (1, 300), (224, 224), (256, 256)]:
        yield "cat {}x{}".format(*size), cat.resize(size, Image.Resampling.BICUBIC)


def decoded(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")
