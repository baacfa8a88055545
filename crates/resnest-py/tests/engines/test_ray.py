"""Ray Data: the example as a user runs it, and a node of a cluster killed while it works."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from .common import MODEL, rows_of, run, same

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]==2.60.0' aiohttp")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.usefixtures("package")


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_example(form, shards, expected, tmp_path):
    """Predictions of Parquet and of archives, in chunks; a second run finds nothing to do."""
    folder = shards(form)
    words = ("ray_data.py", folder, tmp_path, "--model", MODEL, "--chunk", 3)
    assert "chunk-00001: " in run(*words)
    same(rows_of(tmp_path), expected(folder), 0)
    assert "shards done" not in run(*words)


def test_embeddings(shards, expected, tmp_path):
    folder = shards("parquet")
    run("ray_data.py", folder, tmp_path, "--model", MODEL, "--embeddings")
    rows = rows_of(tmp_path)
    assert "labels" not in rows[0]
    same(rows, expected(folder, predictions=False, embeddings=True), 0)


@pytest.fixture
def cluster(monkeypatch):
    """A head that computes nothing and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    memory = 150 << 20
    # The head's CPUs are for the tasks that read and write, and that the driver starts.
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": memory, "include_dashboard": False},
    )
    nodes = [made.add_node(num_cpus=1, object_store_memory=memory, resources={"worker": 1}) for _ in range(2)]
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def test_a_killed_node_costs_no_row(cluster, shards, expected, tmp_path):
    """One of two nodes dies after it has answered some blocks: every row comes once, with the bits that it has without
    a cluster, because a block is a shard and a retried one is cut in the same places."""
    import pyarrow as pa

    made, (victim, _) = cluster
    folder, seen = shards("parquet", 8), tmp_path / "seen"
    seen.mkdir()
    want = expected(folder)
    killed = threading.Event()

    class Slow:
        """An ArrowClassifier that leaves a note of every block, and takes its time."""

        def __init__(self):
            from resnest_rs.batch import ArrowClassifier

            self.classify = ArrowClassifier(MODEL)
            assert self.classify.classifier.threads == 1, "Ray gives a worker OMP_NUM_THREADS=1"

        def __call__(self, table):
            answers = self.classify(table)
            node = ray.get_runtime_context().get_node_id()
            (seen / f"{node}-{time.time_ns()}").touch()
            time.sleep(0.4)
            return answers

    def read_shards(batch):
        from resnest_rs.shards import read

        for path in batch["item"].to_pylist():
            yield pa.Table.from_batches(read(path))

    def kill():
        while len(list(seen.glob(f"{victim.node_id}-*"))) < 3:
            time.sleep(0.02)
        made.remove_node(victim, allow_graceful=False)
        killed.set()

    from resnest_rs.shards import find

    threading.Thread(target=kill, daemon=True).start()
    paths = ray.data.from_items(find(str(folder)), override_num_blocks=len(find(str(folder))))
    images = paths.map_batches(read_shards, batch_size=1, batch_format="pyarrow", num_cpus=0.1)
    answers = images.map_batches(
        Slow,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.8,
        resources={"worker": 1},
        udf_modifying_row_count=False,
    )
    rows = answers.take_all()
    assert killed.is_set(), "the job was over before the node died"
    assert {name.name.split("-")[0] for name in seen.iterdir()} > {victim.node_id}
    same(rows, want, 0)
