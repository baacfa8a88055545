"""Every form in which an image may come gives the answer that its bytes give: the same bits, as the pixels are the same."""

from __future__ import annotations

import io
import mmap
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnest_rs
from helpers import encoded

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"]


class Path:
    """A path of nobody's library."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def backwards(image: Image.Image) -> Any:
    """A view with negative strides that reads as the image."""
    return np.ascontiguousarray(np.asarray(image)[::-1, ::-1])[::-1, ::-1]


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


# One image: from its file.
FORMS: dict[str, Callable[[pathlib.Path], Any]] = {
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "part of a memoryview": lambda path: memoryview(b"no" + path.read_bytes() + b"no")[2:-2],
    "mmap": lambda path: memoryview(mmap.mmap(os.open(path, os.O_RDONLY), 0, access=mmap.ACCESS_READ)),
    "str": str,
    "pathlib": lambda path: path,
    "PathLike": Path,
    "open file": lambda path: path.open("rb"),
    "unbuffered file": lambda path: path.open("rb", buffering=0),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "array of bytes": lambda path: np.frombuffer(path.read_bytes(), np.uint8),
    "Pillow": lambda path: Image.open(path),
    "Pillow RGB": lambda path: Image.open(path).convert("RGB"),
    "numpy HWC": lambda path: np.asarray(Image.open(path).convert("RGB")),
    "numpy backwards": lambda path: backwards(Image.open(path).convert("RGB")),
    "numpy of channels first": lambda path: np.asfortranarray(np.asarray(Image.open(path).convert("RGB"))),
    "read-only numpy": lambda path: read_only(np.array(Image.open(path).convert("RGB"))),
    "memoryview of numpy": lambda path: memoryview(np.asarray(Image.open(path).convert("RGB"))),
}


@pytest.fixture(scope="module")
def answers(demo: resnest_rs.Classifier, photos: list[pathlib.Path]) -> Any:
    return demo.logits([photo.read_bytes() for photo in photos])


@pytest.mark.parametrize("form", FORMS)
def test_a_hundred_photos(
    form: str, demo: resnest_rs.Classifier, photos: list[pathlib.Path], answers: Any
) -> None:
    assert np.array_equal(demo.logits([FORMS[form](photo) for photo in photos]), answers)


@pytest.mark.parametrize("form", FORMS)
def test_one_alone(form: str, demo: resnest_rs.Classifier, chelsea: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "chelsea.png"
    path.write_bytes(chelsea)
    answer = demo.classify(FORMS[form](path))
    assert isinstance(answer, resnest_rs.Prediction)
    assert answer == demo.classify(chelsea)


@pytest.mark.parametrize("mode", MODES)
def test_pillow_modes(mode: str, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    image = Image.open(io.BytesIO(chelsea))
    image = image.convert("L").convert(mode) if mode in ("I", "F", "I;16") else image.convert(mode)
    if mode == "LA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    as_rgb = np.asarray(image.convert("RGB"))
    assert np.array_equal(demo.logits(image), demo.logits(as_rgb))


@pytest.mark.parametrize(
    ("mode", "format"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "TIFF"), ("L", "BMP"), ("RGB", "WEBP"), ("P", "GIF")],
)
def test_encoded_modes(mode: str, format: str, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    file = encoded(Image.open(io.BytesIO(chelsea)).convert(mode), format, **options)
    as_rgb = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    assert np.array_equal(demo.logits(file), demo.logits(as_rgb))


def test_lazy_and_closed_pillow_images(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    # An image that Pillow has not read yet is read on the way; one that was closed is a broken image, not a crash.
    lazy = Image.open(io.BytesIO(chelsea))
    assert demo.classify(lazy) == demo.classify(chelsea)
    closed = Image.open(io.BytesIO(chelsea))
    closed.close()
    with pytest.raises(resnest_rs.ImageError, match="Pillow"):
        demo.classify(closed)


def test_a_pillow_image_cut_short(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    file = encoded(Image.open(io.BytesIO(chelsea)), "JPEG")
    with pytest.raises(resnest_rs.ImageError, match=r"image 1: Pillow cannot read it \(OSError"):
        demo.classify([chelsea, Image.open(io.BytesIO(file[: len(file) // 2]))])


def test_gray_arrays(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    gray = Image.open(io.BytesIO(chelsea)).convert("L")
    pixels = np.asarray(gray)
    expected = demo.logits(gray)
    assert np.array_equal(demo.logits(np.asarray(gray.convert("RGB"))), expected)
    for form in (pixels, pixels[:, :, None], pixels[::-1][::-1], np.repeat(pixels, 2, axis=1)[:, ::2]):
        assert np.array_equal(demo.logits(form), expected)


def test_four_sides_are_several_pictures(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    one = np.asarray(Image.open(io.BytesIO(chelsea)))
    several = np.stack([one, one[::-1], one[:, ::-1]])
    assert np.array_equal(demo.logits(several), demo.logits(list(several)))
    assert len(demo.classify(several)) == 3


def test_torch_tensors(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(chelsea))))
    expected = demo.logits(chelsea)
    assert np.array_equal(demo.logits(pixels), expected)
    # Channels first in memory, channels last to look at.
    assert np.array_equal(demo.logits(pixels.permute(2, 0, 1).contiguous().permute(1, 2, 0)), expected)
    assert np.array_equal(demo.logits([pixels, pixels])[1], demo.logits([chelsea, chelsea])[1])
    with pytest.raises(TypeError, match="float32"):
        demo.logits(pixels.float())
    with pytest.raises(TypeError, match="float32"):
        demo.logits(pixels.float() / 255)


@pytest.fixture(scope="module")
def pa() -> Any:
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def columns(pa: Any, files: list[bytes], paths: list[str]) -> dict[str, Any]:
    """The same images in every kind of column; the polars and pandas ones where those are there."""
    half = len(files) // 2
    padded = [b"before", *files, b"after"]
    found = {
        "binary": pa.array(files, pa.binary()),
        "large_binary": pa.array(files, pa.large_binary()),
        "binary_view": pa.array(files, pa.binary_view()),
        "sliced": pa.array(padded, pa.binary()).slice(1, len(files)),
        "sliced view": pa.array(padded, pa.binary_view()).slice(1, len(files)),
        "chunked": pa.chunked_array([files[:half], [], files[half:]], pa.binary()),
        "chunked and sliced": pa.chunked_array([padded[:half], padded[half:]], pa.binary()).slice(1, len(files)),
        "strings": pa.array(paths),
        "large strings": pa.array(paths, pa.large_string()),
        "views of strings": pa.array(paths, pa.string_view()),
        "column of a table": pa.table({"image": files})["image"],
        "scalars": list(pa.array(files)),
    }
    try:
        import polars
    except ImportError:
        pass
    else:
        found["polars"] = polars.Series(files, dtype=polars.Binary)
        found["polars in chunks"] = polars.concat([polars.Series(files[:half]), polars.Series(files[half:])], rechunk=False)
        found["polars paths"] = polars.Series(paths)
    try:
        import pandas
    except ImportError:
        pass
    else:
        found["pandas"] = pandas.Series(files)
        found["pandas of another index"] = pandas.Series(files, index=range(7, 7 + len(files)))
        found["pandas paths"] = pandas.Series(paths)
        found["pandas of Arrow"] = pandas.Series(files, dtype=pandas.ArrowDtype(pa.binary()))
    return found


def test_columns(pa: Any, demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes, tmp_path: pathlib.Path) -> None:
    check_columns(pa, demo, [chelsea, horse, chelsea, horse, horse], tmp_path)


def test_columns_of_a_hundred_photos(
    pa: Any, demo: resnest_rs.Classifier, photos: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
    check_columns(pa, demo, [photo.read_bytes() for photo in photos], tmp_path)


def check_columns(pa: Any, demo: resnest_rs.Classifier, files: list[bytes], folder: pathlib.Path) -> None:
    paths = []
    for at, file in enumerate(files):
        path = folder / f"{at}"
        path.write_bytes(file)
        paths.append(str(path))
    expected = demo.logits(files)
    for name, column in columns(pa, files, paths).items():
        answers = demo.logits(column)
        assert answers.shape == expected.shape, name
        assert np.array_equal(answers, expected), name
        streamed = np.stack(list(demo.stream(column, task="logits")))
        assert np.array_equal(streamed, expected), f"{name}, as a stream"


def test_other_containers(demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes) -> None:
    files = [chelsea, horse]
    expected = demo.classify(files)
    assert demo.classify(tuple(files)) == expected
    assert demo.classify(np.array(files, dtype=object)) == expected
    assert len(demo.classify([])) == 0 and isinstance(demo.classify([]), resnest_rs.Predictions)
    # An iterator may be without end.
    with pytest.raises(TypeError, match="stream"):
        demo.classify(iter(files))  # type: ignore[call-overload]
    assert tuple(demo.stream(iter(files))) == expected


def test_empty_lists(pa: Any, demo: resnest_rs.Classifier) -> None:
    for none in ([], (), pa.array([], pa.binary()), pa.chunked_array([], pa.binary())):
        assert demo.classify(none) == ()
        assert demo.logits(none).shape == (0, 10)
        assert demo.probabilities(none).shape == (0, 10)
        assert demo.features(none).shape == (0, 512)
        assert demo.features(none, 1).shape == (0, 64, 12, 12)
        assert demo.preprocess(none).shape == (0, 3, 48, 48)
        assert demo.logits(none, errors="return") == []
        assert list(demo.stream(none)) == []


def test_shapes(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    assert demo.logits(chelsea).shape == (10,)
    assert demo.logits([chelsea]).shape == (1, 10)
    assert demo.probabilities(chelsea).sum() == pytest.approx(1, abs=1e-5)
    assert demo.features(chelsea).shape == (512,)
    assert demo.features([chelsea] * 3).shape == (3, 512)
    assert demo.preprocess(chelsea).shape == (3, 48, 48)
    for stage, shape in enumerate([(32, 24, 24), (64, 12, 12), (128, 6, 6), (256, 3, 3), (512, 2, 2)]):
        assert demo.features(chelsea, stage).shape == shape
        assert demo.features([chelsea] * 2, stage).shape == (2, *shape)
    for values in (demo.logits(chelsea), demo.features([chelsea], 2), demo.preprocess(chelsea)):
        # Arrays like any other: of float32, in C order, to be written to.
        assert values.dtype == np.float32 and values.flags.c_contiguous and values.flags.writeable
    again = demo.logits(chelsea)
    again[:] = 0
    assert demo.logits(chelsea).any()


def test_files_are_read_from_where_they_stand(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    file = io.BytesIO(b"head" + chelsea)
    file.seek(4)
    assert demo.classify(file) == demo.classify(chelsea)


def test_an_array_may_change_after_the_call_began(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    # A stream has taken its copy when the next image is asked for.
    def reused() -> Any:
        buffer = bytearray(chelsea)
        for _ in range(30):
            buffer[:] = chelsea
            yield buffer
            buffer[:] = bytes(len(buffer))

    assert {one.top.label for one in demo.stream(reused())} == {"cat"}
