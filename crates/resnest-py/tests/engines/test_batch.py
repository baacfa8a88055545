"""ArrowClassifier by itself, against a classifier that is given one image after the other."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading

import pytest
from .common import MODEL, photos

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")
np = pytest.importorskip("numpy", reason="numpy is not installed: pip install numpy")
pytestmark = pytest.mark.usefixtures("package")

PICTURES = [path.read_bytes() for path in sorted(photos().iterdir())[:11]]
ANSWERS = ["labels", "indices", "probabilities", "logits"]


@pytest.fixture(scope="module")
def batch():
    from resnest_rs import batch

    return batch


@pytest.fixture(scope="module")
def table():
    """Photos with a broken one, one that is empty and one that is missing among them."""
    images = [*PICTURES[:3], b"no image", *PICTURES[3:6], None, b"", *PICTURES[6:]]
    return pa.table({"key": [f"k{row}" for row in range(len(images))], "image": pa.array(images, pa.binary())})


def bad(table):
    return [row for row, image in enumerate(table["image"].to_pylist()) if not image or image == b"no image"]


def test_predictions_are_the_classifiers(batch, table):
    from resnest_rs import Classifier

    alone, rows = Classifier(MODEL, threads=1), batch.ArrowClassifier(MODEL, topk=3)(table).to_pylist()
    for row, image in zip(rows, table["image"].to_pylist()):
        assert list(row) == ["key", *ANSWERS, "error"]
        if row["error"] is not None:
            assert all(row[name] is None for name in ANSWERS)
            continue
        best = alone.classify(image, 3)
        assert row["labels"] == [one.label for one in best] and row["indices"] == [one.index for one in best]
        assert np.allclose(row["probabilities"], [one.probability for one in best], atol=1e-5)
        assert np.allclose(row["logits"], [one.logit for one in best], atol=1e-4)
    assert [row for row, each in enumerate(rows) if each["error"]] == bad(table)
    assert rows[7]["error"] == "it is null" and not any((each["error"] or "").startswith("image ") for each in rows)


def test_embeddings_are_the_classifiers(batch, table):
    from resnest_rs import Classifier

    alone, out = Classifier(MODEL, threads=1), batch.ArrowClassifier(MODEL, predictions=False, embeddings=True)(table)
    assert out.schema.field("embedding").type == pa.list_(pa.float32(), alone.num_features)
    for row, image in zip(out.to_pylist(), table["image"].to_pylist()):
        assert (row["embedding"] is None) == (row["error"] is not None)
        if row["embedding"] is not None:
            assert np.allclose(row["embedding"], alone.features(image), atol=1e-4)
    assert [row for row, error in enumerate(out["error"].to_pylist()) if error] == bad(table)


def test_one_image_at_a_time_has_the_same_bits_wherever_batches_are_cut(batch, table):
    whole = batch.ArrowClassifier(MODEL, embeddings=True, batch_size=1)
    parts = [whole(table.slice(start, length)) for start, length in [(0, 1), (1, 5), (6, 0), (6, 20)]]
    assert pa.concat_tables(parts).equals(whole(table))


def test_both_at_once_are_what_each_is_alone(batch, table):
    both = batch.ArrowClassifier(MODEL, embeddings=True)(table)
    classes = batch.ArrowClassifier(MODEL)(table)
    embeddings = batch.ArrowClassifier(MODEL, predictions=False, embeddings=True)(table)
    for name in classes.column_names:
        assert both.column(name).equals(classes.column(name)), name
    assert both.column("embedding").equals(embeddings.column("embedding"))
    assert both.column("error").equals(embeddings.column("error"))


@pytest.mark.parametrize("options", [{}, {"embeddings": True}, {"predictions": False, "embeddings": True, "prefix": "x_"}])
def test_every_table_has_the_same_schema(batch, table, options):
    classify = batch.ArrowClassifier(MODEL, **options)
    schema = classify.output_schema(table.schema)
    nulls = pa.table({"key": ["a", "b"], "image": [None, None]})
    for each in [table, table.slice(0, 0), table.slice(3, 1), nulls]:
        assert classify(each).schema.equals(schema)
        made = classify(pa.RecordBatch.from_pylist(each.to_pylist(), schema=each.schema))
        assert isinstance(made, pa.RecordBatch) and made.schema.equals(schema) and made.num_rows == each.num_rows
    assert classify(nulls)[f"{classify.prefix}error"].to_pylist() == ["it is null", "it is null"]
    empty = classify(pa.table({}))
    assert empty.num_rows == 0 and empty.schema.equals(classify.answer_schema())


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())])
def test_columns_of_bytes(batch, table, kind):
    whole = batch.ArrowClassifier(MODEL)(table)
    column = table["image"].dictionary_encode() if pa.types.is_dictionary(kind) else table["image"].cast(kind)
    assert batch.ArrowClassifier(MODEL)(table.set_column(1, "image", column)).equals(whole)


def test_a_struct_and_chunks(batch, table):
    """A column as Hugging Face's datasets have it, in several chunks, one of them a slice and one empty."""
    whole = batch.ArrowClassifier(MODEL, batch_size=1)(table)
    structs = pa.StructArray.from_arrays([table["image"].combine_chunks(), table["key"].combine_chunks()], ["bytes", "path"])
    nested = pa.table({"key": table["key"], "image": pa.chunked_array([structs[:4], structs[4:4], structs[4:]])})
    out = batch.ArrowClassifier(MODEL, column="image.bytes", batch_size=1)(nested)
    assert out.equals(whole)
    kept = batch.ArrowClassifier(MODEL, column="image.bytes", keep_image=True)(nested)
    assert kept.column_names == ["key", "image", *ANSWERS, "error"]


def test_a_readers_error_goes_before_ours(batch):
    table = pa.table({"image": pa.array([None, None, PICTURES[0]], pa.binary()), "error": ["cut off", None, None]})
    out = batch.ArrowClassifier(MODEL)(table)
    assert out["error"].to_pylist() == ["cut off", "it is null", None]
    assert out.column_names == [*ANSWERS, "error"]


@pytest.mark.parametrize(
    ("made", "fault", "says"),
    [
        (lambda: pa.table({"photo": [b""]}), KeyError, "no column 'image', but photo"),
        (lambda: pa.table({"image": ["a.jpg"]}), TypeError, "column 'image' is string"),
        (lambda: pa.table({"image": [b""], "labels": [1]}), ValueError, "'labels' already"),
    ],
)
def test_tables_that_do_not_fit(batch, made, fault, says):
    with pytest.raises(fault, match=says):
        batch.ArrowClassifier(MODEL)(made())


def test_arguments_that_do_not_fit(batch):
    with pytest.raises(ValueError, match="nothing to do"):
        batch.ArrowClassifier(MODEL, predictions=False)
    with pytest.raises(ValueError, match="at least 1"):
        batch.ArrowClassifier(MODEL, topk=0)


def test_what_keeps_every_image_from_an_answer_is_raised(batch, table):
    from resnest_rs import ModelError

    with pytest.raises(ModelError):
        batch.ArrowClassifier("resnest5000d")(table)


def test_pickles_as_its_arguments(batch, table):
    one = batch.ArrowClassifier(MODEL, topk=2, token="secret")
    whole = one(table)
    words = pickle.dumps(one)
    assert len(words) < 1000 and "secret" not in repr(one)
    other = pickle.loads(words)
    assert other(table).equals(whole)
    assert other.classifier is one.classifier


def test_threads_of_a_process_share_one_network(batch, table):
    made = [batch.ArrowClassifier(MODEL, batch_size=5) for _ in range(8)]
    threads = [threading.Thread(target=each, args=[table]) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each.classifier) for each in made}) == 1


def answers_elsewhere(classify, table, out):
    out.put(classify(table).to_pylist())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(batch, table, method):
    """Forked after the network was used here, as well as started anew."""
    classify = batch.ArrowClassifier(MODEL)
    whole = classify(table).to_pylist()
    context = multiprocessing.get_context(method)
    out = context.Queue()
    process = context.Process(target=answers_elsewhere, args=(classify, table, out))
    process.start()
    try:
        assert out.get(timeout=120) == whole
    finally:
        process.join(60)


def test_import_is_light():
    """Importing this on a driver brings in no Arrow and loads nothing."""
    code = "import sys, resnest_rs.batch, resnest_rs.shards; print({'pyarrow', 'numpy', 'pandas'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
