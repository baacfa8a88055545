"""Daft: the example as a user runs it, on the native runner."""

from __future__ import annotations

import pytest
from .common import MODEL, rows_of, run, same

pytest.importorskip("daft", reason="Daft is not installed: pip install daft==0.7.26 'pyarrow<26'")
pytestmark = pytest.mark.usefixtures("package")


@pytest.mark.parametrize("form", ["parquet", "tar"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_example(form, embeddings, shards, expected, tmp_path):
    """Answers in chunks; a second run finds nothing to do."""
    folder = shards(form)
    words = ["daft_data.py", folder, tmp_path, "--model", MODEL, "--chunk", 3] + ["--embeddings"] * embeddings
    assert "chunk-00001: " in run(*words)
    same(rows_of(tmp_path), expected(folder, predictions=not embeddings, embeddings=embeddings), 1e-5)
    assert "shards done" not in run(*words)


def test_a_broken_archive_says_so(shards, tmp_path):
    whole = sorted(shards("tar").glob("*.tar"))[0].read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    run("daft_data.py", tmp_path / "cut.tar", tmp_path / "out", "--model", MODEL)
    rows = rows_of(tmp_path / "out")
    assert "no whole archive" in rows[-1]["error"] and "broken" not in rows[-1]
