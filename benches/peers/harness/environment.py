"""The virtual environment, the Rust workers' build, and what the report says about the machine.

Standard library only: this runs before the environment exists.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
RUST_ENGINES = ("resnest", "tract", "rten")  # one binary each, so that one's memory and start are not another's


def pins() -> dict[str, str]:
    """Package name to pinned version, from requirements.txt."""
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def versions() -> dict[str, str]:
    """The versions that are really installed, which need not be the pinned ones when `--venv` named an old environment."""
    found = {}
    for package in pins():
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def enter(venv: Path) -> None:
    """Makes sure that `venv` exists and holds the pinned packages, then restarts this program with its Python."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    if Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])
    wrong = {p: v for p, v in pins().items() if versions()[p] != v}
    if wrong:
        print(f"installing {', '.join(sorted(wrong))} into {venv}", file=sys.stderr)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)


def build_workers(target: Path, engines: list[str]) -> dict[str, Path | str]:
    """Builds one binary for each Rust engine; an engine that does not compile gets the compiler's words instead of a path."""
    built: dict[str, Path | str] = {}
    for engine in engines:
        # Not --locked: the project's own crates are path dependencies, and theirs change. The peers are pinned with `=`.
        command = ["cargo", "build", "--release", "--bin", f"{engine}-worker"]
        command += ["--no-default-features", "--features", engine, "--target-dir", str(target)]
        done = subprocess.run(command, cwd=HERE / "worker", capture_output=True, text=True)
        ok = done.returncode == 0
        built[engine] = target / "release" / f"{engine}-worker" if ok else f"cargo build failed: {done.stderr[-2000:]}"
    return built


def build_command() -> Path | str:
    """The project's command, which quantises checkpoints; the compiler's words where it does not build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = ["cargo", "build", "--release", "--locked", "--workspace", "--bin", "resnest", "--target-dir", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return target / "release" / "resnest" if done.returncode == 0 else f"cargo build failed: {done.stderr[-2000:]}"


def rust_versions() -> dict[str, str]:
    """Versions of the crates measured, from the worker's lock file, and the compiler's."""
    wanted = ("resnest", "candle-core", "tract-onnx", "rten", "mimalloc")
    blocks = (HERE / "worker" / "Cargo.lock").read_text().split("[[package]]")
    found = {}
    for block in blocks:
        fields = dict(line.split(" = ", 1) for line in block.strip().splitlines() if " = " in line)
        name = fields.get("name", "").strip('"')
        if name in wanted:
            found[name] = fields["version"].strip('"')
    found["rustc"] = first_line(["rustc", "--version"])
    found["commit"] = first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    return found


def machine() -> dict[str, str]:
    """What a reader needs in order to place the figures."""
    cpu = {}
    for line in first_lines(["lscpu"]):
        key, _, value = line.partition(":")
        cpu[key.strip()] = value.strip()
    flags = cpu.get("Flags", "").split()
    simd = [f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "asimd") if f in flags]
    return {
        "cpu": f"{cpu.get('Model name', platform.processor())} (family {cpu.get('CPU family')}, model {cpu.get('Model')})",
        "cores": str(os.cpu_count()),
        "simd": " ".join(simd),
        "caches": ", ".join(f"{level} {cpu.get(level + ' cache', '?')}" for level in ("L1d", "L2", "L3")),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def first_lines(command: list[str]) -> list[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:
        return []


def first_line(command: list[str]) -> str:
    return next(iter(first_lines(command)), "unknown")
