"""What goes wrong is an exception of the right class that names the thing; with `errors="return"`, in its place."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnest_rs
from resnest_rs import ImageError, ModelError, NotFoundError, ResnestError


@pytest.fixture(scope="module")
def broken(chelsea: bytes) -> list[Any]:
    """Images of which 1, 3, 4 and 6 have no answer."""
    return [chelsea, b"no image", chelsea, None, "not/there.jpg", chelsea, chelsea[:100], chelsea]


BAD = {1: ImageError, 3: ImageError, 4: NotFoundError, 6: ImageError}


@pytest.mark.parametrize("count", [8, 80])
@pytest.mark.parametrize("method", ["classify", "logits", "probabilities", "features", "preprocess"])
def test_returned_in_their_places(
    method: str, count: int, demo: resnest_rs.Classifier, broken: list[Any], chelsea: bytes
) -> None:
    # Eight are one batch, eighty go the way of many.
    images = broken + [chelsea] * (count - 8)
    answers = getattr(demo, method)(images, errors="return")
    assert len(answers) == count
    for at, one in enumerate(answers):
        if at in BAD:
            assert type(one) is BAD[at]
            assert str(one).startswith(f"image {at}") or "not/there.jpg" in str(one)
        else:
            assert not isinstance(one, Exception)
    if method == "classify":
        assert set(answers.errors) == set(BAD)
        assert "image 1" in repr(answers)
    assert answers[3].index == 3 and "null" in str(answers[3])


@pytest.mark.parametrize("at", [0, 5, 50])
def test_raised_by_name(at: int, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    images = [chelsea] * 60
    images[at] = b"broken"
    for method in ("classify", "logits", "features"):
        with pytest.raises(ImageError, match=f"^image {at}: ") as caught:
            getattr(demo, method)(images)
        assert caught.value.index == at
        assert isinstance(caught.value, ValueError) and isinstance(caught.value, ResnestError)


def test_the_first_is_raised(demo: resnest_rs.Classifier, broken: list[Any]) -> None:
    with pytest.raises(ImageError, match="^image 1: "):
        demo.classify(broken)


def test_one_image(demo: resnest_rs.Classifier) -> None:
    with pytest.raises(ImageError) as caught:
        demo.classify(b"broken")
    assert caught.value.index is None and not str(caught.value).startswith("image")
    returned = demo.classify(b"broken", errors="return")
    assert isinstance(returned, ImageError) and str(returned) == str(caught.value)
    assert isinstance(demo.logits(b"broken", errors="return"), ImageError)
    for empty in (b"", bytearray(), io.BytesIO(), np.zeros(0, np.uint8)):
        with pytest.raises(ImageError):
            demo.classify(empty)


def test_missing_files(demo: resnest_rs.Classifier, chelsea: bytes, tmp_path: Path) -> None:
    for path in ("not/there.jpg", tmp_path / "no.png"):
        with pytest.raises(NotFoundError, match=Path(path).name) as caught:
            demo.classify(path)
        assert isinstance(caught.value, FileNotFoundError)
        with pytest.raises(NotFoundError, match=f"image 1.*{Path(path).name}|{Path(path).name}"):
            demo.classify([chelsea, path])
    # A folder is no image, and is called by its name too.
    with pytest.raises(ResnestError, match=tmp_path.name):
        demo.classify(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        demo.classify(tmp_path / "text.jpg")
    with pytest.raises(ImageError, match=r"image 1 \(.*text\.jpg\): "):
        demo.classify([chelsea, tmp_path / "text.jpg"])


def test_null_rows(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        column = pa.array([chelsea, None, chelsea, b""], kind)
        answers = demo.classify(column, errors="return")
        assert list(answers.errors) == [1, 3]
        assert "image 1" in str(answers[1]) and "null" in str(answers[1])
        assert answers[0] == answers[2]
        with pytest.raises(ImageError, match="image 1.*null"):
            demo.classify(column)
        assert list(demo.classify(column.slice(1, 2), errors="return").errors) == [0]
    nothing = pa.nulls(3)
    assert list(demo.classify(nothing, errors="return").errors) == [0, 1, 2]


def test_columns_of_other_things(demo: resnest_rs.Classifier) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for column, kind in [
        (pa.array([1, 2]), "Int64"),
        (pa.array([[1], [2]]), "List"),
        (pa.chunked_array([[1.5]]), "Float64"),
        (pa.table({"image": [b"x"]}), "Struct"),
    ]:
        with pytest.raises(TypeError, match=kind):
            demo.classify(column)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (3, "int"),
        (object(), "object"),
        ({"image": b""}, "dict"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((4, 4, 4), np.uint8), r"4, 4, 4"),
        (np.zeros((3, 40, 40), np.uint8), r"3, 40, 40"),
        (np.zeros((4, 4, 2), np.uint8), r"4, 4, 2"),
        (io.StringIO("text"), r"rb"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_no_image(image: Any, said: str, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    # That is a mistake in the program, whatever `errors` says.
    for errors in ("raise", "return"):
        with pytest.raises(TypeError, match=said):
            demo.classify(image, errors=errors)
        with pytest.raises(TypeError, match=f"image 1: .*{said}"):
            demo.classify([chelsea, image], errors=errors)
        with pytest.raises(TypeError, match=f"image 20: .*{said}"):
            demo.logits([chelsea] * 20 + [image], errors=errors)
    with pytest.raises(TypeError, match=said):
        resnest_rs.create_transform(32)(image)


def test_empty_pictures(demo: resnest_rs.Classifier) -> None:
    for shape in ((0, 4, 3), (4, 0, 3), (0, 0)):
        with pytest.raises(ImageError):
            demo.classify(np.zeros(shape, np.uint8))


def test_too_large(chelsea: bytes) -> None:
    small = resnest_rs.Classifier("demo", max_pixels=1000)
    with pytest.raises(ImageError, match="1000|1,000"):
        small.classify(chelsea)


def test_unknown_models() -> None:
    for make in (resnest_rs.Classifier, resnest_rs.create_model):
        with pytest.raises(ModelError, match="resnest50d"):
            make("resnest50q")
        with pytest.raises(ModelError, match="resnest50d"):
            make("resnest50d.in2k")
    assert issubclass(ModelError, ValueError)


def test_offline(tmp_path: Path) -> None:
    for make in (
        lambda: resnest_rs.Classifier("resnest14d.gluon_in1k", offline=True, cache_dir=tmp_path),
        lambda: resnest_rs.Classifier("hf-hub:nobody/nothing", offline=True, cache_dir=tmp_path),
    ):
        with pytest.raises(resnest_rs.HubError, match="offline|OFFLINE") as caught:
            make()
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), resnest_rs.HubError)


def test_an_unreachable_hub(tmp_path: Path) -> None:
    with pytest.raises(resnest_rs.HubError, match=r"127\.0\.0\.1"):
        resnest_rs.Classifier("resnest14d.gluon_in1k", endpoint="http://127.0.0.1:9", cache_dir=tmp_path)


def test_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(resnest_rs.CheckpointError, match=r"bad\.safetensors"):
        resnest_rs.Classifier("resnest14d", checkpoint=tmp_path / "bad.safetensors")
    with pytest.raises(NotFoundError, match=r"none\.safetensors"):
        resnest_rs.create_model("resnest14d", checkpoint_path=tmp_path / "none.safetensors")
    with pytest.raises(NotFoundError):
        resnest_rs.Classifier(f"local-dir:{tmp_path}/no")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "double"}, "double"),
        ({"crop_mode": "middle"}, "middle"),
        ({"interpolation": "best"}, "best"),
        ({"device": "tpu"}, "tpu"),
        ({"global_pool": "median"}, "median"),
        ({"input_size": 0}, "0"),
        ({"input_size": (0, 48)}, "0"),
        ({"crop_pct": 0.0}, "crop_pct|crop fraction|0"),
        ({"crop_pct": float("nan")}, "NaN|nan"),
        ({"crop_pct": -1.0}, "-1"),
        ({"precision": "int8"}, "quantize"),
        ({"threads": 10**9}, "threads"),
    ],
    ids=str,
)
def test_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        resnest_rs.Classifier("demo", **options)


def test_a_device_that_was_not_built() -> None:
    with pytest.raises(ModelError, match="cuda"):
        resnest_rs.Classifier("demo", device="cuda")


def test_options_of_other_types() -> None:
    for options in ({"threads": -1}, {"threads": "two"}, {"batch_size": -1}, {"input_size": -5}, {"input_size": (1, 2, 3)}):
        with pytest.raises((TypeError, OverflowError, ValueError)):
            resnest_rs.Classifier("demo", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nonsense"):
        resnest_rs.Classifier("demo", nonsense=1)  # type: ignore[call-arg]


def test_options_of_calls(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    with pytest.raises(ModelError, match="ignore"):
        demo.classify(chelsea, errors="ignore")  # type: ignore[call-overload]
    for stage in (5, -6, "layer5", 1.5):
        with pytest.raises(ModelError, match=str(stage)):
            demo.features(chelsea, stage)  # type: ignore[call-overload]
    with pytest.raises(ModelError, match="nothing"):
        demo.stream([chelsea], task="nothing")  # type: ignore[call-overload]
    with pytest.raises(ModelError, match="stage"):
        demo.stream([chelsea], task="logits", stage=1)
    with pytest.raises(TypeError, match="one image"):
        demo.stream(chelsea)  # type: ignore[arg-type]
    with pytest.raises((OverflowError, TypeError, ValueError)):
        demo.classify(chelsea, topk=-1)
    assert len(demo.classify(chelsea, topk=0)) == 0
    assert len(demo.classify(chelsea, topk=100)) == 10


def test_a_model_without_classes(chelsea: bytes) -> None:
    headless = resnest_rs.Classifier("demo", num_classes=0)
    assert headless.num_classes == 0 and headless.features(chelsea).shape == (512,)
    for method in ("classify", "logits", "probabilities", "cam"):
        with pytest.raises(ResnestError, match="class"):
            getattr(headless, method)(chelsea)


def test_transform_options() -> None:
    for options in (
        {"is_training": True},
        {"auto_augment": "rand-m9"},
        {"normalize": False},
        {"interpolation": "best"},
        {"crop_mode": "middle"},
        {"input_size": 0},
        {"mean": (0.5,)},
        {"std": (0.0, 0.0, 0.0)},
    ):
        with pytest.raises(ModelError):
            resnest_rs.create_transform(**options)


@pytest.mark.parametrize("kind", ["ResnestError", "ImageError", "ModelError", "CheckpointError", "HubError", "NotFoundError"])
def test_exceptions_pickle(kind: str) -> None:
    error = getattr(resnest_rs, kind)("what was wrong")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error) and str(again) == "what was wrong" and again.args == error.args
    assert type(error).__module__ == "resnest_rs"


def test_raised_exceptions_pickle(demo: resnest_rs.Classifier, broken: list[Any]) -> None:
    for error in demo.classify(broken, errors="return").errors.values():
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        assert getattr(again, "index", None) == getattr(error, "index", None)


class TestStream:
    def test_in_order(self, demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes) -> None:
        images = [chelsea if at % 3 else horse for at in range(100)]
        expected = demo.classify(images)
        assert tuple(demo.stream(images)) == expected
        assert tuple(demo.stream((image for image in images), batch_size=8)) == expected
        assert len(list(demo.stream(iter(images), batch_size=1))) == 100

    @pytest.mark.parametrize("task", ["logits", "probabilities", "features", "pixels"])
    def test_tasks(self, task: str, demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes) -> None:
        method = {"pixels": "preprocess"}.get(task, task)
        found = list(demo.stream([chelsea, horse] * 8, task=task))  # type: ignore[call-overload]
        assert np.array_equal(np.stack(found), getattr(demo, method)([chelsea, horse] * 8))

    def test_stage(self, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
        found = list(demo.stream([chelsea] * 3, task="features", stage=2))
        assert [one.shape for one in found] == [(128, 6, 6)] * 3

    def test_errors_are_raised_in_their_place(self, demo: resnest_rs.Classifier, broken: list[Any]) -> None:
        stream = demo.stream(broken)
        assert isinstance(next(stream), resnest_rs.Prediction)
        with pytest.raises(ImageError, match="^image 1: "):
            next(stream)
        with pytest.raises(StopIteration):
            next(stream)

    def test_errors_are_returned(self, demo: resnest_rs.Classifier, broken: list[Any]) -> None:
        answers = list(demo.stream(broken * 4, errors="return"))
        assert [at for at, one in enumerate(answers) if isinstance(one, Exception)] == [
            8 * turn + at for turn in range(4) for at in BAD
        ]

    @pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
    def test_errors_of_the_source_come_last(self, count: int, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
        def source() -> Iterator[bytes]:
            for _ in range(count):
                yield chelsea
            raise KeyError("the end of the shard")

        stream, answers = demo.stream(source()), 0
        with pytest.raises(KeyError, match="the end of the shard"):
            for _ in stream:
                answers += 1
        assert answers == count
        with pytest.raises(StopIteration):
            next(stream)

    def test_what_is_no_image_comes_last_too(self, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
        stream, answers = demo.stream([chelsea] * 10 + [3], errors="return"), 0  # type: ignore[list-item]
        with pytest.raises(TypeError, match="image 10: .*int"):
            for _ in stream:
                answers += 1
        assert answers == 10

    def test_few_are_taken_ahead(self, demo: resnest_rs.Classifier, tiny: bytes) -> None:
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield tiny

        stream = demo.stream(endless(), batch_size=4)
        for given in range(1, 50):
            next(stream)
            assert taken <= given + 4 + 2 * 4 + demo.threads

    def test_an_iterator_over_nothing_to_iterate(self, demo: resnest_rs.Classifier) -> None:
        with pytest.raises(TypeError):
            demo.stream(3)  # type: ignore[arg-type]

    def test_a_stream_of_the_stream(self, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
        # The source may use the same classifier, and end another stream of it.
        def source() -> Iterator[bytes]:
            for _ in range(20):
                assert len(list(demo.stream([chelsea] * 3))) == 3
                demo.classify(chelsea)
                yield chelsea

        assert len(list(demo.stream(source()))) == 20
