"""What the tests of the engines share. Each is skipped, with the reason, where its engine is not installed:

    pip install pytest pyarrow "ray[data]==2.60.0" aiohttp        # test_ray.py
    pip install pytest pyarrow pyspark==4.3.0 "pandas<3"              # test_spark.py, Java 17
    pip install pytest "pyarrow<26" daft==0.7.26                  # test_daft.py: an environment of its own
    pytest crates/resnest-py/tests/engines
"""

from __future__ import annotations

from pathlib import Path

import pytest
from .common import MODEL, photos, run


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
