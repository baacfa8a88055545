"""Makes shards of a folder of photos: Parquet with the columns `key` and `image`, or WebDataset's archives.

    python make_shards.py photos/ shards/ --rows 64
    python make_shards.py photos/ shards/ --format tar --repeat 20 --broken 3

For trying out the other programs here; needs pyarrow for Parquet alone.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def photos(folder: Path, repeat: int) -> Iterator[tuple[str, bytes]]:
    """Every photo below the folder under its name, `repeat` times."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"{folder} has no photos")
    for turn in range(repeat):
        for path in files:
            key = str(path.relative_to(folder))
            yield (f"{turn}/{key}" if repeat > 1 else key), path.read_bytes()


def with_broken(rows: Iterator[tuple[str, bytes]], count: int) -> Iterator[tuple[str, bytes | None]]:
    """Puts broken images between the others, one after every fifth: cut off, no image at all, empty, none."""
    for number, (key, image) in enumerate(rows):
        yield key, image
        if number % 5 == 4 and number // 5 < count:
            kind = number // 5 % 4
            yield f"broken/{number // 5}.jpg", (image[: len(image) // 3], b"no image at all", b"", None)[kind]


def write_parquet(path: Path, rows: list[tuple[str, bytes | None]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys, images = zip(*rows)
    table = pa.table({"key": pa.array(keys, pa.string()), "image": pa.array(images, pa.binary())})
    # JPEGs do not compress further, and a dictionary of them is of no use.
    pq.write_table(table, path, compression="none", use_dictionary=False)


def write_tar(path: Path, rows: list[tuple[str, bytes | None]]) -> None:
    with tarfile.open(path, "w") as archive:
        for key, image in rows:
            member = tarfile.TarInfo(key)
            member.size = len(image or b"")
            archive.addfile(member, io.BytesIO(image or b""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder, searched at all depths")
    parser.add_argument("out", type=Path, help="the folder of shards; made if it is not there")
    parser.add_argument("--format", choices=["parquet", "tar"], default="parquet")
    parser.add_argument("--rows", type=int, default=64, help="images a shard (64)")
    parser.add_argument("--repeat", type=int, default=1, help="take every photo so many times (1)")
    parser.add_argument("--broken", type=int, default=0, help="put so many broken images between the others (0)")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    write = write_parquet if args.format == "parquet" else write_tar
    rows, images, shards = with_broken(photos(args.photos, args.repeat), args.broken), 0, 0
    while shard := list(itertools.islice(rows, args.rows)):
        path = args.out / f"shard-{shards:05}.{args.format}"
        part = path.with_suffix(".part")
        write(part, shard)
        os.replace(part, path)
        images, shards = images + len(shard), shards + 1
    print(f"{images} images in {shards} shards in {args.out}")


if __name__ == "__main__":
    main()
