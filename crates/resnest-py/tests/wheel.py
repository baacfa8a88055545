"""A wheel as a stranger gets it: installed in a fresh environment of each Python on the machine, without a compiler and
without any other package, then with numpy.

    python crates/resnest-py/tests/wheel.py WHEEL [--python PYTHON ...]

Prints what it found out: the wheel's size, which manylinux it satisfies (auditwheel), whether the index would take it
(twine), and for each Python whether the smoke test passed. The exit status says whether all was well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PHOTO = Path(__file__).resolve().parents[2] / "resnest" / "demo" / "photos" / "chelsea.png"
OLDEST, NEWEST = 11, 15
LARGEST = 15 << 20

SMOKE = """
import pathlib, sys
import resnest_rs
assert not {"numpy", "PIL", "pyarrow"} & set(sys.modules), "something heavy was imported"
path = sys.argv[1]
classifier = resnest_rs.Classifier("demo")
assert classifier.classify(path).top.label == "cat"
assert classifier.classify(pathlib.Path(path).read_bytes()).top.label == "cat"
assert [one.top.label for one in classifier.classify([path] * 20)] == ["cat"] * 20
assert [one.top.label for one in classifier.stream(iter([path] * 20))] == ["cat"] * 20
assert resnest_rs.list_models("resnest50d*") and resnest_rs.list_pretrained("resnest50d*")
assert isinstance(classifier.classify([path, b""], errors="return")[1], resnest_rs.ImageError)
try:
    logits = classifier.logits(path)
except ImportError as error:
    assert sys.argv[2] == "alone" and "numpy" in str(error), error
else:
    assert sys.argv[2] == "numpy" and logits.shape == (10,) and logits.argmax() == 3
    model = resnest_rs.create_model("demo")
    transform = resnest_rs.create_transform(**resnest_rs.resolve_model_data_config(model))
    assert abs(model(transform(path)[None])[0] - logits).max() < 1e-4
print("fine", resnest_rs.__version__, "on", sys.version.split()[0])
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", action="append", default=[], help="an interpreter to try it in; by default all found")
    given = parser.parse_args()
    good = [contents(given.wheel), tool("twine", "check", "--strict", given.wheel), manylinux(given.wheel)]
    pythons = given.python or installed()
    if not pythons:
        print(f"no Python 3.{OLDEST} or later was found")
        return 1
    good += [smoke(given.wheel.resolve(), python) for python in pythons]
    return 0 if all(good) else 1


def contents(wheel: Path) -> bool:
    """Its size and what must be in it."""
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / (1 << 20):.1f} MB, at most {LARGEST >> 20}")
    names = zipfile.ZipFile(wheel).namelist()
    wanted = ["resnest_rs/py.typed", "resnest_rs/_resnest.pyi", "LICENSE-MIT", "LICENSE-APACHE", "entry_points.txt"]
    missing = [one for one in wanted if not any(name.endswith(one) for name in names)]
    if missing:
        print(f"it lacks {', '.join(missing)}")
    unwanted = [name for name in names if "/tests/" in name or name.endswith((".pyc", ".rs"))]
    if unwanted:
        print(f"it should not have {', '.join(unwanted)}")
    return size <= LARGEST and not missing and not unwanted and "-abi3-" in wheel.name


def tool(*command: object) -> bool:
    """Runs a module of this Python."""
    return subprocess.run([sys.executable, "-m", *map(str, command)]).returncode == 0


def manylinux(wheel: Path) -> bool:
    """Which Linux it runs on, by auditwheel: any glibc that it names, and no library that is not everywhere."""
    found = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel)], capture_output=True, text=True
    )
    said = " ".join((found.stdout + found.stderr).split())
    print(f"auditwheel: {said}")
    return found.returncode == 0 and "manylinux_2_" in said


def installed() -> list[str]:
    """Every Python on the machine that the wheel is for, one of each version."""
    folders = [*os.environ["PATH"].split(os.pathsep), *map(str, (Path.home() / ".pyenv/versions").glob("*/bin"))]
    found: dict[int, str] = {}
    for minor in range(OLDEST, NEWEST + 1):
        for folder in folders:
            python = shutil.which(f"python3.{minor}", path=folder)
            # One of pyenv's shims stands for a version that may not be there.
            if python and subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
                found.setdefault(minor, python)
    return list(found.values())


def smoke(wheel: Path, python: str) -> bool:
    """In an environment of its own, with nothing on the path but what it brings."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", f"{folder}/venv"], check=True)
        inside = f"{folder}/venv/bin"
        env = {"PATH": inside, "HOME": folder, "RESNEST_WEIGHTS_CACHE": "off"}
        # For pip: where packages come from, and how.
        passed = {k: v for k, v in os.environ.items() if k.upper().startswith(("PIP_", "HTTP", "SSL", "NO_PROXY"))}
        config = next((p for p in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf") if p.exists()), None)
        if config and "PIP_CONFIG_FILE" not in passed:
            passed["PIP_CONFIG_FILE"] = str(config)

        def pip(*what: str) -> bool:
            command = [f"{inside}/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
            return subprocess.run(command, env={**env, **passed}).returncode == 0

        def ends_well(*command: str) -> bool:
            return subprocess.run(command, env=env, cwd=folder, timeout=120).returncode == 0

        good = (
            pip("--no-index", "--no-deps", str(wheel))
            and ends_well(f"{inside}/python", "-c", SMOKE, str(PHOTO), "alone")
            and ends_well(f"{inside}/resnest", "--version")
            and pip("--only-binary=:all:", "numpy")
            and ends_well(f"{inside}/python", "-c", SMOKE, str(PHOTO), "numpy")
        )
    print(f"{python}: {'passed' if good else 'FAILED'}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
