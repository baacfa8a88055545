"""What an image may come in. Imported by type checkers alone."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pil

Float32: TypeAlias = NDArray[np.float32]
Errors: TypeAlias = Literal["raise", "return"]
Precision: TypeAlias = Literal["auto", "fast", "exact", "bf16", "int8"]


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes: ...


class ArrowArray(Protocol):
    """An array of pyarrow, polars, daft: binary, large_binary or binary_view."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...


class ArrowStream(Protocol):
    """A chunked array of the same."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


# Encoded bytes, a path, a decoded picture (H, W, 3), (H, W, 1) or (H, W) of uint8, an open file.
Image: TypeAlias = Union[
    bytes, bytearray, memoryview, str, PathLike[str], pil.Image, NDArray[np.uint8], Readable
]
Images: TypeAlias = Union[list[Any], tuple[Any, ...], ArrowArray, ArrowStream]
