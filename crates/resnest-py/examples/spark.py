"""Predictions or embeddings of the images in Parquet or WebDataset shards, with Spark.

    pip install resnest-rs pyspark pyarrow 'pandas<3'
    python spark.py shards/ answers/ --model resnest50d.in1k --master 'local[*,4]'
    spark-submit --master k8s://… spark.py s3a://bucket/shards s3a://bucket/answers --embeddings

A second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from resnest_rs.batch import ArrowClassifier
from resnest_rs.shards import chunks, find, read, tar_schema


def answered(spark: SparkSession, shards: list[str], classifier: ArrowClassifier) -> DataFrame:
    """One row an image. Each worker process loads the network once and keeps it for all of its tasks."""
    if shards[0].endswith(".parquet"):
        rows = spark.read.parquet(*shards)
        return rows.mapInArrow(classifier.map_in_arrow, classifier.spark_schema(rows.schema))

    def archives(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for shard in batch.column("shard").to_pylist():
                yield from classifier.map_in_arrow(read(str(shard)))

    paths = spark.createDataFrame([(shard,) for shard in shards], "shard string").repartition(len(shards))
    return paths.mapInArrow(archives, classifier.spark_schema(tar_schema()))


def session(master: str | None) -> SparkSession:
    """Spark, started here or joined."""
    # Workers are Pythons like this one; spark-submit and clusters have PYSPARK_PYTHON set.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Batches of images must not grow to the 10,000 rows that Spark gives others.
    builder = SparkSession.builder.appName("resnest").config("spark.sql.execution.arrow.maxRecordsPerBatch", 64)
    return (builder.master(master) if master else builder).getOrCreate()


def answer(spark: SparkSession, shards: list[str], folder: str, classifier: ArrowClassifier) -> None:
    """Writes the answers for all images of the shards into a folder."""
    answered(spark, shards, classifier).write.mode("overwrite").parquet(folder)


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
    parser.add_argument("--master", help="local[*,4]: all CPUs of this machine, four tries a task; spark-submit has its own")
    args = parser.parse_args()

    spark = session(args.master)
    options = {"predictions": not args.embeddings, "embeddings": args.embeddings}
    classifier = ArrowClassifier(args.model, column=args.column, topk=args.topk, checkpoint=args.checkpoint, **options)
    for shards, folder in chunks(find(args.shards), args.out, args.chunk, classifier.arguments):
        answer(spark, shards, folder, classifier)
        print(f"{folder}: {len(shards)} shards done")


if __name__ == "__main__":
    main()
