"""What the scripts of this folder share: photos, what the command says of them, and a runner that tells what it skips.

Each is called as `python SCRIPT BASE_URL RESNEST_BINARY PHOTOS_FOLDER [--only NAME …]`: a server of the demo model at
the address, the command whose answers are the measure, and a folder with photos. Needs numpy.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

# What float rounding leaves when a sum's order changes with the batch: of the largest value of its row.
ROUNDING = 1e-5
BROKEN = b"\x89PNG\r\n\x1a\nnothing"


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="http://HOST:PORT")
    parser.add_argument("binary", help="the command `resnest`")
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--only", nargs="*", default=[], help="the checks of these names")
    return parser.parse_args()


def photos(folder):
    found = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    assert found, f"no photos in {folder}"
    return found


class Command:
    """The command's own answers to files: what every door of the server is held to."""

    def __init__(self, binary, model="demo"):
        self.binary, self.model = binary, model

    def _run(self, *arguments):
        command = [self.binary, *map(str, arguments), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def classes(self, files, kind="prob", k=5):
        """For each file its best classes as `(index, label, value)`, best first."""
        field = {"prob": "probability", "logit": "logit"}[kind]
        options = ["--model", self.model, "--format", "json", "--topk", k, "--output-type", kind]
        answers = json.loads(self._run("classify", *options, *files))
        return [[(p["index"], p["label"], p[field]) for p in answer["predictions"]] for answer in answers]

    def rows(self, files, kind="logit"):
        """The same in the order of the classes: an array [files, classes]."""
        rows = self.classes(files, kind, 1_000_000)
        return np.array([[value for *_, value in sorted(row)] for row in rows], np.float32)

    def embeddings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "x.npy"
            self._run("features", "--model", self.model, "--out", out, *files)
            return np.load(out)


def close(got, expected, what, rounding=ROUNDING):
    """Equal but for rounding, row by row, and the largest of each row at the same place."""
    got, expected = np.asarray(got, np.float32), np.asarray(expected, np.float32)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    worst = (np.abs(got - expected) / scale).max()
    assert worst <= rounding, f"{what}: off by {worst:.1e} of the largest value"
    assert (got.argmax(axis=-1) == expected.argmax(axis=-1)).all(), f"{what}: another best class"
    return float(worst)


def needs(*modules):
    """Marks a check that is skipped where one of these cannot be imported."""

    def mark(check):
        check.modules = modules
        return check

    return mark


def missing(check):
    for module in getattr(check, "modules", ()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{module} cannot be imported ({error})"
    return None


def run(checks, only=()):
    """Runs functions without arguments; ends the process with 1 if one failed."""
    failed = 0
    for check in checks:
        name = check.__name__
        if only and name not in only:
            continue
        if reason := missing(check):
            print(f"skipped {name}: {reason}", flush=True)
            continue
        start = time.monotonic()
        try:
            told = check()
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {name} in {time.monotonic() - start:.2f} s{f': {told}' if told else ''}", flush=True)
    sys.exit(1 if failed else 0)
