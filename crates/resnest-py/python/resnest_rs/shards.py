"""Shards of images, and which of them are done: what the engines leave to the caller.

`read` reads WebDataset's archives and Parquet. `chunks` cuts a long list of shards into runs that are each done or not
done, so that a job of weeks goes on where it stopped, on any engine:

    for shards, folder in chunks(find("s3://bucket/photos"), "s3://bucket/answers", 1000):
        spark.read.parquet(*shards).mapInArrow(…).write.mode("overwrite").parquet(folder)

A path with `://` is opened by pyarrow's file systems (`s3://`, `gs://`, `hdfs://`, `abfs://`), any other as a local file.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["chunks", "find", "read", "read_tar", "tar_schema"]

#: Extensions of images: those of the formats that the classifier reads.
IMAGES = frozenset("jpg jpeg jpe jfif png webp gif bmp tif tiff ppm pgm pbm pnm tga qoi ico".split())

#: The file that says that a chunk is done. Readers of Parquet pass over names like it; `_SUCCESS` is Spark's own.
DONE = "_DONE.json"

#: Key, encoded image, error.
_Row = tuple["str | None", "bytes | None", "str | None"]


def find(folder: str, extensions: Sequence[str] = (".parquet", ".tar")) -> list[str]:
    """The shards directly in a folder, sorted by name; a path that is a shard itself is its own list.

    Raises:
        FileNotFoundError: there is no such folder, or no shard in it.
    """
    from pyarrow import fs

    if folder.endswith(tuple(extensions)):
        return [folder]
    system, inner = _system(folder)
    names = [each.base_name for each in system.get_file_info(fs.FileSelector(inner)) if each.is_file]
    found = [f"{folder.rstrip('/')}/{name}" for name in sorted(names) if name.endswith(tuple(extensions))]
    if not found:
        raise FileNotFoundError(f"{folder} has no shard: its files end neither in {' nor in '.join(extensions)}")
    return found


def chunks(
    shards: Sequence[str], out: str, size: int, by: Mapping[str, Any] | None = None
) -> Iterator[tuple[list[str], str]]:
    """Cuts `shards` into chunks of `size` and gives each that is not done yet, with the empty folder for its answers.

    A chunk is done when the body of the `for` has ended without an exception: then `_DONE.json`, with the list of its
    shards and what they were answered `by` (`ArrowClassifier.arguments`, but for a token), is put into its folder (`out/chunk-00000`, …), and it is never given again. What an interrupted run left in a
    folder without `_DONE.json` is removed before the chunk is given anew, so that no row is there twice. Readers should
    read the folders with `_DONE.json`. Two runs must not share `out` at the same time.

    Raises:
        ValueError: `size` is less than 1, or a chunk that is done was made of other shards (the list or `size` changed) or
            by another model or options.
    """
    if size < 1:
        raise ValueError(f"a chunk has at least 1 shard, not {size}")
    system, inner = _system(out)
    for start in range(0, len(shards), size):
        chunk, name = list(shards[start : start + size]), f"chunk-{start // size:05}"
        made = {"by": _plain(by), "shards": chunk}
        if _is_done(system, f"{inner}/{name}", made):
            continue
        system.create_dir(f"{inner}/{name}", recursive=True)
        system.delete_dir_contents(f"{inner}/{name}")
        yield chunk, f"{out.rstrip('/')}/{name}"
        with system.open_output_stream(f"{inner}/{name}/{DONE}") as file:
            file.write(json.dumps(made, indent=0).encode())


def _plain(by: Mapping[str, Any] | None) -> dict[str, Any]:
    """As JSON has it, without what is secret or makes no difference to answers."""
    kept = {key: value for key, value in (by or {}).items() if value is not None and key not in ("token", "threads")}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def _is_done(system: Any, folder: str, wanted: dict[str, Any]) -> bool:
    try:
        with system.open_input_stream(f"{folder}/{DONE}") as file:
            made = json.loads(file.read())
    except FileNotFoundError:
        return False
    for what, words in [("shards", "of other shards"), ("by", "by another model or other options")]:
        if made.get(what) != wanted[what]:
            raise ValueError(f"{folder} was made {words} than what is now given: choose another folder for the answers")
    return True


def read(
    path: str | os.PathLike[str], *, column: str = "image", error: str = "error", rows: int = 64
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, `rows` at a time and in its order: of a `.parquet` all columns as they are, of any other file
    what `read_tar` gives.

    Raises:
        OSError: the file cannot be opened or read, or is no whole Parquet; it names the shard.
    """
    shard = os.fspath(path)
    if not shard.endswith(".parquet"):
        yield from read_tar(shard, column=column, error=error, rows=rows)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    system, inner = _system(shard)
    with system.open_input_file(inner) as file:
        try:
            yield from pq.ParquetFile(file).iter_batches(batch_size=rows)
        except pa.ArrowInvalid as fault:
            raise OSError(f"{shard} is no whole Parquet file: {fault}") from fault


def read_tar(
    path: str | os.PathLike[str], *, column: str = "image", error: str = "error", rows: int = 64
) -> Iterator[pa.RecordBatch]:
    """The images of a WebDataset shard (`.tar`, also compressed), `rows` at a time and in the archive's order.

    Columns: `shard` (the path as given), `key` (the member's name without its extension), the image, and `error`, which
    is null but in the last row of an archive that ends early or is none: that row has no key and no image. Members that
    are no images (`.cls`, `.json`, …) are passed over. The archive is read once from front to back.

    Raises:
        OSError: the file cannot be opened or read.
    """
    schema, shard = tar_schema(column, error), os.fspath(path)
    batch: list[_Row] = []
    for row in _tar_rows(shard):
        batch.append(row)
        if len(batch) == rows:
            yield _rows(batch, shard, schema)
            batch = []
    if batch:
        yield _rows(batch, shard, schema)


def tar_schema(column: str = "image", error: str = "error") -> pa.Schema:
    """What `read_tar` gives."""
    import pyarrow as pa

    fields: list[tuple[str, pa.DataType]] = [("shard", pa.string()), ("key", pa.string())]
    return pa.schema([*fields, (column, pa.large_binary()), (error, pa.string())])


class _Header(tarfile.TarInfo):
    """A member's header. Python takes an archive that is cut off in or before a header for one that ends there; a whole
    one ends in blocks of zeros."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("there is no end-of-archive marker")
        return super().frombuf(buf, encoding, errors)


def _tar_rows(shard: str) -> Iterator[_Row]:
    """Key, image and error of each image of a shard."""
    done = 0
    with _open(shard) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as archive:
                for member in archive:
                    key, image = _key(member.name), archive.extractfile(member) if member.isfile() else None
                    if key is None or image is None:
                        continue
                    yield key, image.read(), None
                    done += 1
        except (tarfile.TarError, EOFError) as fault:
            yield None, None, f"{shard}: no whole archive, {done} images before its end: {fault or type(fault).__name__}"


def _key(name: str) -> str | None:
    """A member's name without its extension, if it is an image's; WebDataset's extensions begin at the name's first dot."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if not stem or extension.rpartition(".")[2].lower() not in IMAGES:
        return None
    return f"{folder}/{stem}" if folder else stem


def _rows(rows: list[_Row], shard: str, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [[shard] * len(rows), *map(list, zip(*rows))]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema)], schema=schema
    )


def _open(path: str) -> Any:
    if "://" not in path:
        return open(path, "rb")
    system, inner = _system(path)
    return system.open_input_stream(inner, compression=None)


def _system(path: str) -> tuple[Any, str]:
    """pyarrow's file system for a path, and the path as that system calls it."""
    from pyarrow import fs

    if "://" in path:
        system, inner = fs.FileSystem.from_uri(path)
        return system, inner.rstrip("/")
    return fs.LocalFileSystem(), os.path.abspath(path)
