"""What the tests of the engines share, beside the fixtures of conftest.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
EXAMPLES = PACKAGE / "examples"
REPOSITORY = PACKAGE.parents[1]
SHARED = Path(os.environ.get("RESNEST_SHARED", REPOSITORY.parent / "shared"))

#: The model of every test here is built into the package; nothing is looked for in the user's cache.
MODEL = "demo"
os.environ.setdefault("RESNEST_WEIGHTS_CACHE", "off")


def photos() -> Path:
    """The hundred photos of the shared folder, or the two of the demo model."""
    found = SHARED / "data" / "photos"
    return found if found.is_dir() else REPOSITORY / "crates" / "resnest" / "demo" / "photos"


def run(script: str, *arguments: object) -> str:
    """An example's output, run as a user would."""
    words = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def same(rows: list[dict], expected: dict[str, dict], tolerance: float) -> None:
    """Every row once, errors where they must be, and the same answers; with a tolerance of 0 the same bits."""
    assert sorted(row["key"] for row in rows) == sorted(expected)
    for row in rows:
        wanted = expected[row["key"]]
        assert (row["error"] is None) == (wanted["error"] is None), (row, wanted)
        for name in ("probabilities", "logits", "embedding"):
            if wanted.get(name) is None:
                assert row.get(name) is None
                continue
            assert len(row[name]) == len(wanted[name])
            largest = max(1.0, *map(abs, wanted[name]))
            assert all(abs(a - b) <= tolerance * largest for a, b in zip(row[name], wanted[name])), (row, wanted)
        if tolerance == 0 and "labels" in wanted:
            assert row["labels"] == wanted["labels"] and row["indices"] == wanted["indices"]


def rows_of(folder: Path) -> list[dict]:
    """All rows of the Parquet files of the chunks of a folder, done ones alone."""
    import pyarrow.parquet as pq

    files = [path for done in folder.glob("chunk-*/_DONE.json") for path in sorted(done.parent.glob("*.parquet"))]
    return [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]
