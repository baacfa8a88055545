"""What a run needs before anything is measured: virtual environments, the model's files, our binaries.

Standard library only. Everything that is made lies under `target/serve-bench` and is made once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "serve-bench"
VENVS = {"venv": "requirements.txt", "venv-triton": "requirements-triton.txt", "venv-export": "requirements-export.txt"}


@dataclass(frozen=True)
class Setup:
    """What every part of the run is told."""

    resnest: Path
    photos: Path
    work: Path
    out: Path
    threads: int
    seed: int = 1

    @property
    def hub(self) -> Path:
        """resnest50d as a model repository."""
        return self.work / "model" / "hub"

    @property
    def onnx(self) -> Path:
        return self.work / "model" / "model.onnx"

    @property
    def load(self) -> Path:
        return self.work / "bin" / "load"

    @property
    def library(self) -> Path:
        return self.work / "bin" / "library"

    def python(self, venv: str = "venv") -> Path:
        return self.work / venv / "bin" / "python"

    def photo(self) -> bytes:
        return sorted(self.photos.iterdir())[0].read_bytes()


def prepare(setup: Setup, build: bool) -> None:
    """Makes what is absent."""
    for name, requirements in VENVS.items():
        # torch is needed only to make the model's files.
        if name != "venv-export" or not (setup.work / "model" / "agreement.json").exists():
            venv(setup.work / name, HERE / requirements)
    (setup.work / "bin").mkdir(parents=True, exist_ok=True)
    run(["rustc", "--edition", "2024", "-O", HERE / "load.rs", "-o", setup.load])
    if build:
        build_ours(setup)
    if not (setup.work / "model" / "agreement.json").exists():
        run([setup.python("venv-export"), HERE / "export.py", setup.work / "model", setup.photos, setup.resnest])


def venv(folder: Path, requirements: Path) -> None:
    """An environment with the pinned packages; a copy of the list in it says that they are installed."""
    installed = folder / "installed.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    print(f"installing {requirements.name} into {folder}", file=sys.stderr)
    if not (folder / "bin" / "python").exists():
        run([sys.executable, "-m", "venv", folder])
    run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements])
    installed.write_text(requirements.read_text())


def build_ours(setup: Setup) -> None:
    """The command, and the program that calls the library."""
    run(["cargo", "build", "--release", "-p", "resnest-cli"])
    run(["cargo", "build", "--release", "--features", "demo", "--example", "serve_library"])
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    setup.library.unlink(missing_ok=True)
    setup.library.symlink_to(target.resolve() / "release" / "examples" / "serve_library")


def run(command: list) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, stdout=sys.stderr)


def machine() -> dict[str, str]:
    """The machine as `benches/peers` describes it, and what was measured."""
    sys.path.insert(0, str(HERE.parent / "peers"))
    from harness import environment as peers

    pins = [line for name in VENVS.values() for line in (HERE / name).read_text().splitlines()]
    versions = sorted({line for line in pins if "==" in line and not line.startswith("#")})
    commit = peers.first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    return peers.machine() | {"commit": commit, "packages": " ".join(versions)}


def load_average() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())
