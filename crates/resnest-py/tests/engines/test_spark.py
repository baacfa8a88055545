"""Spark: the example as a user runs it, and a worker killed inside the function."""

from __future__ import annotations

import os
import sys

import pytest
from .common import MODEL, rows_of, run, same

pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: pip install pyspark==4.3.0 'pandas<3'")
pytestmark = pytest.mark.usefixtures("package")


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_example(form, shards, expected, tmp_path):
    """Predictions of Parquet and of archives, in chunks; a second run finds nothing to do."""
    folder = shards(form)
    words = ("spark.py", folder, tmp_path, "--model", MODEL, "--chunk", 3, "--master", "local[2,4]")
    assert "chunk-00001: " in run(*words)
    same(rows_of(tmp_path), expected(folder), 1e-5)
    assert "shards done" not in run(*words)


def test_embeddings(shards, expected, tmp_path):
    folder = shards("tar")
    run("spark.py", folder, tmp_path, "--model", MODEL, "--embeddings", "--master", "local[2,4]")
    same(rows_of(tmp_path), expected(folder, predictions=False, embeddings=True), 1e-5)


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
    # Batches so small that a task has several: one to answer and one to die in.
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 4)
    session = builder.config("spark.sql.files.maxPartitionBytes", "3m").getOrCreate()
    yield session
    session.stop()


def answers(spark, folder, classifier, function=None):
    table = spark.read.parquet(str(folder))
    return table.mapInArrow(function or classifier.map_in_arrow, classifier.spark_schema(table.schema))


def test_a_killed_worker_costs_no_row(spark, shards, tmp_path):
    """A worker dies after its first batch, without a word: the task is tried again, every row comes once, with the bits of
    a run in which nothing died."""
    from resnest_rs.batch import ArrowClassifier

    classifier, died = ArrowClassifier(MODEL), str(tmp_path / "died")
    folder = shards("parquet", 8)
    want = {row["key"]: row.asDict() for row in answers(spark, folder, classifier).collect()}

    def dying(batches):
        for number, batch in enumerate(classifier.map_in_arrow(batches)):
            if number == 1:
                try:
                    os.close(os.open(died, os.O_CREAT | os.O_EXCL))
                    os._exit(137)
                except FileExistsError:
                    pass
            yield batch

    rows = [row.asDict() for row in answers(spark, folder, classifier, dying).collect()]
    assert os.path.exists(died), "no worker died"
    same(rows, want, 0)


def test_answers_are_those_of_one_process(spark, shards, expected):
    from resnest_rs.batch import ArrowClassifier

    folder = shards("parquet", 8)
    rows = [row.asDict() for row in answers(spark, folder, ArrowClassifier(MODEL)).collect()]
    same(rows, expected(folder), 1e-5)


def test_a_worker_loads_once(spark, shards):
    """Tasks come and go, each unpickles a classifier of its own: the network is loaded once a process, on one thread."""
    import pyarrow as pa

    from resnest_rs.batch import ArrowClassifier

    classifier = ArrowClassifier(MODEL)

    def look(batches):
        for _ in batches:
            one = classifier.classifier
            yield pa.RecordBatch.from_pylist([{"pid": os.getpid(), "which": id(one), "threads": one.threads}])

    table = spark.read.parquet(str(shards("parquet", 8)))
    seen = table.mapInArrow(look, "pid long, which long, threads long").collect()
    assert len(seen) > 4
    assert {row.threads for row in seen} == {1}, "Spark gives a worker OMP_NUM_THREADS=1"
    assert len({(row.pid, row.which) for row in seen}) == len({row.pid for row in seen}) <= 3


def test_no_rows(spark, shards):
    from resnest_rs.batch import ArrowClassifier

    classifier = ArrowClassifier(MODEL, embeddings=True)
    table = spark.read.parquet(str(shards("parquet"))).where("key = 'nobody'")
    got = table.mapInArrow(classifier.map_in_arrow, classifier.spark_schema(table.schema))
    assert got.collect() == []
    assert got.columns == ["key", "labels", "indices", "probabilities", "logits", "embedding", "error"]
