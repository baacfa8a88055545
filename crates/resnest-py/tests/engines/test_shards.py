"""Reading shards, and which of them are done."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")
pytestmark = pytest.mark.usefixtures("package")


@pytest.fixture
def archive(tmp_path):
    """Members of a WebDataset shard, in an order of its own."""
    members = {"b/2.jpg": b"two", "b/2.cls": b"7", "a.b.png": b"one", "a.txt": b"-"}
    members |= {".hidden.jpg": b"-", "c.JPEG": b"", "d": b"-"}
    with tarfile.open(tmp_path / "s.tar", "w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("f.jpg")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    return tmp_path / "s.tar"


def read(path, **options):
    from resnest_rs.shards import read

    batches = list(read(path, **options))
    return [row for batch in batches for row in batch.to_pylist()], [batch.num_rows for batch in batches]


def test_images_of_an_archive(archive):
    rows, cuts = read(archive, rows=2)
    assert [(row["key"], row["image"]) for row in rows] == [("b/2", b"two"), ("a", b"one"), ("c", b"")]
    assert cuts == [2, 1]
    assert all(row["error"] is None and row["shard"] == str(archive) for row in rows)


def test_compressed_archives(archive):
    packed = archive.with_suffix(".tar.gz")
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    assert [row["key"] for row in read(packed)[0]] == ["b/2", "a", "c"]


@pytest.mark.parametrize(("cut", "before"), [(0, 0), (300, 0), (512 + 1, 0), (2 * 512 + 100, 1)])
def test_an_archive_that_ends_early_says_so(archive, cut, before):
    """The images before its end come, and a last row that says what is wrong."""
    part = archive.with_name("part.tar")
    part.write_bytes(archive.read_bytes()[:cut])
    rows, _ = read(part)
    assert [row["key"] for row in rows] == ["b/2"][:before] + [None]
    assert str(part) in rows[-1]["error"] and f"{before} images" in rows[-1]["error"] and rows[-1]["image"] is None


def test_no_archive(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"rubbish" * 300)
    rows, _ = read(tmp_path / "s.tar")
    assert len(rows) == 1 and "no whole archive" in rows[0]["error"]
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing.tar")


def test_parquet_as_it_is(tmp_path):
    import pyarrow.parquet as pq

    table = pa.table({"id": list(range(10)), "image": [b"x"] * 10})
    pq.write_table(table, tmp_path / "s.parquet")
    rows, cuts = read(tmp_path / "s.parquet", rows=4)
    assert rows == table.to_pylist() and cuts == [4, 4, 2]
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "s.parquet").read_bytes()[:-9])
    with pytest.raises(OSError, match="cut.parquet is no whole Parquet"):
        read(tmp_path / "cut.parquet")


def test_find(tmp_path):
    from resnest_rs.shards import find

    for name in ["b.tar", "a.parquet", "c.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "d.tar").mkdir()
    assert find(str(tmp_path)) == [f"{tmp_path}/a.parquet", f"{tmp_path}/b.tar"]
    assert find(f"file://{tmp_path}/") == [f"file://{tmp_path}/a.parquet", f"file://{tmp_path}/b.tar"]
    assert find("s3://b/one.parquet") == ["s3://b/one.parquet"]
    with pytest.raises(FileNotFoundError, match="has no shard"):
        find(str(tmp_path), [".webp"])


def test_chunks_are_done_or_not_done(tmp_path):
    """A chunk whose body failed comes again, into an empty folder; one that is done does not."""
    from resnest_rs.shards import chunks

    shards, out = [f"s{each}" for each in range(5)], str(tmp_path)
    with pytest.raises(ZeroDivisionError):
        for names, folder in chunks(shards, out, 2):
            (tmp_path / folder / "part.parquet").touch()
            if names == ["s2", "s3"]:
                1 / 0
    assert json.loads((tmp_path / "chunk-00000" / "_DONE.json").read_text()) == {"by": {}, "shards": ["s0", "s1"]}
    assert not (tmp_path / "chunk-00001" / "_DONE.json").exists()

    given = []
    for names, folder in chunks(shards, f"file://{out}", 2):
        assert list((tmp_path / folder.rpartition("/")[2]).iterdir()) == []
        given.append(names)
    assert given == [["s2", "s3"], ["s4"]]
    assert list(chunks(shards, out, 2)) == []
    assert (tmp_path / "chunk-00000" / "part.parquet").exists()


def test_a_token_is_not_written_down(tmp_path):
    from resnest_rs.shards import chunks

    by = {"model": "demo", "token": "secret", "threads": 2, "checkpoint": tmp_path / "x", "input_size": (48, 48)}
    assert len(list(chunks(["a"], str(tmp_path), 1, by))) == 1
    assert "secret" not in (tmp_path / "chunk-00000" / "_DONE.json").read_text()
    assert list(chunks(["a"], str(tmp_path), 1, {**by, "token": "another", "threads": 4})) == []


def test_chunks_of_other_shards_are_refused(tmp_path):
    from resnest_rs.shards import chunks

    assert len(list(chunks(["a", "b"], str(tmp_path), 1))) == 2
    with pytest.raises(ValueError, match="chunk-00001 was made of other shards"):
        list(chunks(["a", "c"], str(tmp_path), 1))
    with pytest.raises(ValueError, match="chunk-00000 was made by another model"):
        list(chunks(["a", "b"], str(tmp_path), 1, {"model": "demo"}))
    with pytest.raises(ValueError, match="at least 1 shard"):
        list(chunks(["a"], str(tmp_path), 0))
