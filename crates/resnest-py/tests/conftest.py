"""What the tests have in common: the demo model, its photos, a hundred more, and what timm said about them.

Heavy partners (torch, timm) and the project's shared folder (RESNEST_SHARED, else ../shared beside the repository) are used
where they are there; a test that needs a missing one is skipped and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resnest_rs
from helpers import DEMO_PHOTOS, HERE, SHARED, encoded

# No test writes packed weights into the user's home, here or in a process that it starts.
os.environ.setdefault("RESNEST_WEIGHTS_CACHE", "off")


@pytest.fixture(scope="session")
def demo() -> resnest_rs.Classifier:
    """The model inside the package."""
    return resnest_rs.Classifier("demo", threads=2)


@pytest.fixture(scope="session")
def chelsea() -> bytes:
    """A photo of a cat, PNG, 451x300."""
    return (DEMO_PHOTOS / "chelsea.png").read_bytes()


@pytest.fixture(scope="session")
def horse() -> bytes:
    """A drawing of a horse, PNG in gray and alpha."""
    return (DEMO_PHOTOS / "horse.png").read_bytes()


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """What timm said, by record.py."""
    return json.loads((HERE / "recorded.json").read_text())


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared folder."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"there is no {SHARED}/data: set RESNEST_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def photos(shared: Path) -> list[Path]:
    """A hundred photos, JPEG, about 500x375."""
    return sorted((shared / "data" / "photos").iterdir())


@pytest.fixture(scope="session")
def timm_model(shared: Path) -> Any:
    """The demo model as timm builds it."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.set_num_threads(2)
    return timm.create_model(f"local-dir:{shared}/demo-model", pretrained=True).eval()


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python program in a process of its own, within a time in which it must end."""

    def start(
        program: str, *arguments: str, timeout: float = 120, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return start


@pytest.fixture(scope="session")
def tiny() -> bytes:
    """A file of a few hundred bytes with a picture of 8x8."""
    from PIL import Image

    return encoded(Image.linear_gradient("L").resize((8, 8)).convert("RGB"))
