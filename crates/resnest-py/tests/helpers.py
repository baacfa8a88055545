"""Where things are, and small functions: what tests import. (conftest.py has the fixtures; tests/engines has one of its own.)"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
SHARED = Path(os.environ.get("RESNEST_SHARED") or REPOSITORY.parent / "shared")
DEMO_PHOTOS = REPOSITORY / "crates" / "resnest" / "demo" / "photos"

# Logits of two ways to compute the same: float32 sums in another order.
CLOSE = {"rtol": 1e-4, "atol": 2e-4}


def encoded(image: Any, format: str = "PNG", **options: Any) -> bytes:
    """A Pillow image in a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
