"""What the tests of the engines share. Each is skipped, with the reason, where its engine is not installed:

    pip install pytest pyarrow "ray[data]==2.60.0" aiohttp        # test_ray.py
    pip install pytest pyarrow pyspark==4.3.0 "pandas<3"              # test_spark.py, Java 17
    pip install pytest "pyarrow<26" daft==0.7.26                  # test_daft.py: an environment of its own
    pytest crates/resnest-py/tests/engines
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """A maker of folders of shards with broken images among them, made by the example."""
    pytest.importorskip("pyarrow")
    made: dict[tuple[str, int], Path] = {}

    def make(form: str = "parquet", rows: int = 24) -> Path:
        if (form, rows) not in made:
            out = tmp_path_factory.mktemp(f"{form}-{rows}")
            repeat = max(1, 120 // len([each for each in photos().iterdir() if each.suffix.lower() != ".txt"]))
            run("make_shards.py", photos(), out, "--format", form, "--rows", rows, "--repeat", repeat, "--broken", 8)
            made[form, rows] = out
        return made[form, rows]

    return make


@pytest.fixture(scope="session")
def package():
    """The installed package."""
    return pytest.importorskip("resnest_rs", reason="the wheel is not installed: maturin build --release")


@pytest.fixture(scope="session")
def expected(package, shards):
    """A maker of what must come out: every shard in one call in this process, by key. Two of a key would be found by
    `same`, which counts rows."""
    import pyarrow as pa

    from resnest_rs.batch import ArrowClassifier
    from resnest_rs.shards import find, read

    def make(folder: Path, **options) -> dict[str, dict]:
        classify = ArrowClassifier(MODEL, threads=1, **options)
        tables = [classify(pa.Table.from_batches(read(shard))) for shard in find(str(folder))]
        return {row["key"]: row for table in tables for row in table.to_pylist()}

    return make


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
