"""The Rust half of the package: what the classes and functions of `resnest_rs` are made of."""

from collections.abc import Iterator
from os import PathLike
from typing import Any, final

from numpy.typing import NDArray
import numpy as np

__all__ = [
    "Engine",
    "Map",
    "Network",
    "Stream",
    "Transform",
    "__version__",
    "architectures",
    "command",
    "default_threads",
    "model_names",
    "predictions_stream",
]

__version__: str

_Size = int | tuple[int, int]
_Path = str | PathLike[str]
_Row = tuple[int, str, str | None, float, float]

@final
class Engine:
    def __new__(
        cls,
        name: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: str | None = None,
        input_size: _Size | None = None,
        crop_pct: float | None = None,
        crop_mode: str | None = None,
        interpolation: str | None = None,
        batch_size: int = 8,
        checkpoint: _Path | None = None,
        num_classes: int | None = None,
        in_chans: int | None = None,
        global_pool: str | None = None,
        test_time_pool: bool = False,
        revision: str | None = None,
        manifest: _Path | None = None,
        offline: bool | None = None,
        cache_dir: _Path | None = None,
        endpoint: str | None = None,
        token: str | None = None,
        max_pixels: int | None = None,
        weights_cache: bool | _Path | None = None,
    ) -> Engine: ...
    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def input_size(self) -> tuple[int, int]: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def warnings(self) -> list[str]: ...
    def predictions(
        self, images: Any, topk: int, errors: str
    ) -> tuple[list[tuple[_Row, ...] | Exception], bool]: ...
    def outputs(
        self, images: Any, topk: int
    ) -> list[tuple[tuple[_Row, ...], NDArray[np.float32]] | Exception]: ...
    def values(
        self, images: Any, task: str, stage: int | str | None, errors: str
    ) -> tuple[Any, bool]: ...
    def stream(
        self,
        images: Any,
        task: str,
        topk: int,
        stage: int | str | None,
        errors: str,
        batch_size: int | None,
    ) -> Stream: ...
    def cam(
        self, image: Any, label: int | str | None = None
    ) -> tuple[_Row, NDArray[np.float32], Map]: ...

@final
class Map:
    def __new__(
        cls,
        prediction: _Row,
        shape: tuple[int, int],
        values: list[float],
        window: tuple[float, float, float, float],
        size: tuple[int, int],
    ) -> Map: ...
    def __getnewargs__(
        self,
    ) -> tuple[
        _Row, tuple[int, int], list[float], tuple[float, float, float, float], tuple[int, int]
    ]: ...
    def resized(self, height: int, width: int) -> NDArray[np.float32]: ...
    def over_image(self) -> NDArray[np.float32]: ...

@final
class Stream:
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...

@final
class Network:
    def __new__(
        cls,
        name: str,
        *,
        pretrained: bool = True,
        checkpoint: _Path | None = None,
        num_classes: int | None = None,
        in_chans: int | None = None,
        global_pool: str | None = None,
        output_stride: int | None = None,
        device: str = "auto",
        threads: int | None = None,
        precision: str | None = None,
        batch_size: int = 1,
        input_size: _Size | None = None,
        revision: str | None = None,
        cache_dir: _Path | None = None,
        weights_cache: bool | _Path | None = None,
    ) -> Network: ...
    @property
    def name(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def in_chans(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def pretrained_cfg(self) -> str: ...
    @property
    def feature_info(self) -> list[tuple[str, int, int]]: ...
    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def forward_features(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def forward_head(self, x: NDArray[np.float32], pre_logits: bool) -> NDArray[np.float32]: ...
    def forward_intermediates(
        self, x: NDArray[np.float32], indices: list[int], all: bool
    ) -> list[NDArray[np.float32]]: ...

@final
class Transform:
    def __new__(
        cls,
        *,
        input_size: _Size,
        crop_pct: float,
        crop_mode: str,
        interpolation: str,
        mean: list[float],
        std: list[float],
    ) -> Transform: ...
    def apply(self, image: Any) -> NDArray[np.float32]: ...

def predictions_stream(predictions: list[Any]) -> object: ...
def command(arguments: list[str]) -> int: ...
def model_names(pattern: str = "*") -> list[str]: ...
def architectures() -> list[str]: ...
def default_threads() -> int: ...
