"""Predictions or embeddings of the images in Parquet or WebDataset shards, with Ray Data.

    pip install resnest-rs 'ray[data]' aiohttp
    python ray_data.py shards/ answers/ --model resnest50d.in1k
    python ray_data.py s3://bucket/shards s3://bucket/answers --embeddings

On a cluster (RAY_ADDRESS, or as a RayJob) it uses all CPUs that there are; else it starts one here. A second run goes on
where the first stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray

from resnest_rs.batch import ArrowClassifier
from resnest_rs.shards import chunks, find, read


def read_shards(batch: Any) -> Iterator[pa.Table]:
    """The rows of shards, in order. Ray makes blocks of them as they come, by their size: a block that is made again is cut
    in the same places, and so its answers have the same bits."""
    for path in batch["item"].to_pylist():
        for rows in read(path):
            yield pa.Table.from_batches([rows])


def answer(shards: list[str], folder: str, classifier: ArrowClassifier) -> None:
    """Writes the answers for all images of the shards into a folder."""
    # Of every CPU a tenth reads and a tenth writes: a worker on the whole of each would leave none to read for it.
    # A cluster may have grown since the last chunk, or have no machine but its head's yet.
    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    # Some tens of shards a task that reads, where there are so many: handing a task out costs the driver a millisecond.
    paths = ray.data.from_items(shards, override_num_blocks=min(len(shards), 10 * cpus))
    images = paths.map_batches(read_shards, batch_size=1, batch_format="pyarrow", num_cpus=0.1)
    answers = images.map_batches(
        ArrowClassifier,
        fn_constructor_kwargs=classifier.arguments,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=cpus, max_size=cpus),
        num_cpus=0.8,
        udf_modifying_row_count=False,
    )
    answers.write_parquet(folder, min_rows_per_file=10_000, ray_remote_args={"num_cpus": 0.1})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="a folder of .parquet or .tar files, or one of them")
    parser.add_argument("out", help="the folder of answers: a folder of Parquet files a chunk")
    parser.add_argument("--model", default="resnest50d.in1k")
    parser.add_argument("--checkpoint", help="a file of weights for --model")
    parser.add_argument("--column", default="image", help="the column of images in Parquet (image)")
    parser.add_argument("--embeddings", action="store_true", help="embeddings in place of predictions")
    parser.add_argument("--topk", type=int, default=5)
    parser.add_argument("--chunk", type=int, default=1000, help="shards that are done or not done together (1000)")
    args = parser.parse_args()

    ray.init(ignore_reinit_error=True)
    # What a worker has in hand, and loses with its machine: some 300 photos.
    ray.data.DataContext.get_current().target_max_block_size = 32 << 20
    options = {"predictions": not args.embeddings, "embeddings": args.embeddings}
    classifier = ArrowClassifier(args.model, column=args.column, topk=args.topk, checkpoint=args.checkpoint, **options)
    for shards, folder in chunks(find(args.shards), args.out, args.chunk, classifier.arguments):
        answer(shards, folder, classifier)
        print(f"{folder}: {len(shards)} shards done")


if __name__ == "__main__":
    main()
