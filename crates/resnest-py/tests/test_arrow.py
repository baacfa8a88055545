"""Predictions as tables, by Arrow's PyCapsule interface."""

from __future__ import annotations

from typing import Any

import pytest

import resnest_rs

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

SCHEMA = pa.schema(
    {
        "indices": pa.list_(pa.int32()),
        "labels": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float32()),
        "logits": pa.list_(pa.float32()),
        "error": pa.string(),
    }
)


@pytest.fixture(scope="module")
def answers(demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes) -> resnest_rs.Predictions:
    return demo.classify([chelsea, b"broken", horse, None], topk=3, errors="return")


def types(schema: Any) -> dict[str, Any]:
    """Names and types; what the items of a list are called says nothing."""
    return {field.name: str(field.type).replace("item", "element") for field in schema}


def test_a_table(answers: resnest_rs.Predictions) -> None:
    table = answers.to_arrow()
    assert types(table.schema) == types(SCHEMA)
    table.validate(full=True)
    rows = table.to_pylist()
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Exception):
            assert row == dict.fromkeys(SCHEMA.names) | {"error": str(answer)}
        else:
            assert row["error"] is None
            assert row["indices"] == [one.index for one in answer]
            assert row["labels"] == [one.label for one in answer]
            assert row["probabilities"] == pytest.approx([one.probability for one in answer])
            assert row["logits"] == pytest.approx([one.logit for one in answer])
    assert rows[1]["error"].startswith("image 1: ")


def test_it_may_be_asked_again(answers: resnest_rs.Predictions) -> None:
    first = pa.RecordBatchReader.from_stream(answers).read_all()
    assert first == answers.to_arrow() == answers.to_arrow()
    # A capsule that nobody reads is let go.
    for _ in range(100):
        answers.__arrow_c_stream__()
    assert pa.RecordBatchReader.from_stream(answers).read_all() == first


def test_empty(demo: resnest_rs.Classifier) -> None:
    table = demo.classify([]).to_arrow()
    assert table.num_rows == 0 and types(table.schema) == types(SCHEMA)


def test_no_classes(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    assert demo.classify([chelsea], topk=0).to_arrow().to_pylist()[0]["labels"] == []


def test_parts_of_predictions(answers: resnest_rs.Predictions) -> None:
    part = answers[2:]
    assert isinstance(part, resnest_rs.Predictions) and list(part) == list(answers)[2:]
    assert part.to_arrow() == answers.to_arrow().slice(2)
    assert list(reversed(answers))[0] is answers[-1] and answers[0] in answers
    assert hash(part) == hash(answers[2:]) and part == answers[2:] != answers
    with pytest.raises(AttributeError, match="do not change"):
        part._answers = ()


def test_libraries_of_tables_take_them_as_they_are(answers: resnest_rs.Predictions) -> None:
    assert pa.table(answers) == answers.to_arrow()
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(answers).to_arrow().num_rows == len(answers)


def test_written_and_read(answers: resnest_rs.Predictions, tmp_path: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(answers.to_arrow(), tmp_path / "answers.parquet")
    assert parquet.read_table(tmp_path / "answers.parquet").to_pylist() == answers.to_arrow().to_pylist()


def test_polars(answers: resnest_rs.Predictions) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    # Not of the predictions themselves, which are a tuple and would be taken for columns.
    frame = polars.DataFrame(answers.to_arrow())
    assert frame.columns == SCHEMA.names
    assert frame["labels"].to_list() == answers.to_arrow()["labels"].to_pylist()
    assert frame["error"].null_count() == 2


def test_pandas(answers: resnest_rs.Predictions, demo: resnest_rs.Classifier) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = answers.to_pandas()
    assert list(frame.columns) == ["image", "rank", "index", "label", "description", "probability", "logit", "error"]
    assert list(frame["image"]) == [0, 0, 0, 1, 2, 2, 2, 3]
    best = frame[(frame["rank"] == 0) & frame["error"].isna()]
    assert list(best["label"]) == [one.top.label for one in answers if isinstance(one, resnest_rs.Prediction)]
    assert list(frame[frame["error"].notna()]["image"]) == [1, 3]
    empty = demo.classify([]).to_pandas()
    assert len(empty) == 0 and list(empty.columns) == list(frame.columns)


def test_they_print(answers: resnest_rs.Predictions, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    one = demo.classify(chelsea, topk=2)
    assert str(one) == "cat 73.8%, frog 10.3%"
    assert repr(one) == "<Prediction cat 73.8%, frog 10.3%>"
    assert repr(answers).splitlines()[0] == "<4 predictions"
    assert "image 1: " in repr(answers)
    assert len(repr(resnest_rs.Predictions([one] * 1000)).splitlines()) == 22
    assert repr(demo).startswith("<Classifier demo")
