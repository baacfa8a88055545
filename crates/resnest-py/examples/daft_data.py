"""Predictions or embeddings of the images in Parquet or WebDataset shards, with Daft.

    pip install resnest-rs daft 'pyarrow<26'
    python daft_data.py shards/ answers/ --model resnest50d.in1k

Here on Daft's native runner; with DAFT_RUNNER=ray on the cluster of RAY_ADDRESS. A second run goes on where the first
stopped. (A file daft.py would be imported in the place of Daft.)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import daft
import pyarrow as pa
from daft.functions import coalesce

from resnest_rs.batch import ArrowClassifier
from resnest_rs.shards import chunks, find, read

String, Binary = daft.DataType.string(), daft.DataType.binary()


def answerer(classifier: ArrowClassifier, workers: int) -> Any:
    """A function of the column of images to the answers' columns. Each worker loads the network once."""
    answer = daft.DataType.from_arrow_type(pa.struct(list(classifier.answer_schema(fixed=False))))

    @daft.cls(max_concurrency=workers, use_process=False)
    class Answers:
        @daft.method.batch(return_dtype=answer, batch_size=256, unnest=True)
        def __call__(self, images: daft.Series) -> Any:  # a pyarrow.Array
            return classifier.structs(images.to_arrow())

    return Answers()


@daft.func(return_dtype=daft.DataType.struct({"shard": String, "key": String, "image": Binary, "broken": String}), unnest=True)
def archive(path: str) -> Iterator[dict[str, Any]]:
    """The images of an archive, and what is wrong with it."""
    for rows in read(path, error="broken"):
        yield from rows.to_pylist()


def images(shards: list[str]) -> daft.DataFrame:
    """One row an image."""
    if shards[0].endswith(".parquet"):
        return daft.read_parquet(shards)
    return daft.from_pydict({"path": shards}).select(archive(daft.col("path")))


def answer(shards: list[str], folder: str, classifier: ArrowClassifier, workers: int = 1) -> None:
    """Writes the answers for all images of the shards into a folder."""
    rows, answers = images(shards), answerer(classifier, workers)
    kept = [name for name in rows.column_names if name != classifier.column]
    answered = rows.select(*kept, answers(daft.col(classifier.column)))
    if "broken" in kept:  # an archive that ends early says so, not that its last image is null
        error = coalesce(daft.col("broken"), daft.col("error"))
        answered = answered.with_column("error", error).exclude("broken")
    answered.write_parquet(folder)


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
    parser.add_argument("--workers", type=int, default=1, help="classifiers in all: 1 here, which computes on all CPUs")
    args = parser.parse_args()

    options = {"predictions": not args.embeddings, "embeddings": args.embeddings}
    classifier = ArrowClassifier(args.model, column=args.column, topk=args.topk, checkpoint=args.checkpoint, **options)
    for shards, folder in chunks(find(args.shards), args.out, args.chunk, classifier.arguments):
        answer(shards, folder, classifier, args.workers)
        print(f"{folder}: {len(shards)} shards done")


if __name__ == "__main__":
    main()
    # Daft 0.7.26's threads may outlive the interpreter and bring the process down when all is written.
    sys.stdout.flush()
    os._exit(0)
