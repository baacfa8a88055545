"""timm's own names: `create_model`, `list_models`, `create_transform` and what goes with them.

A line of timm's quickstart that runs a residual network runs here too, with arrays in place of tensors where torch is not
there. What would train is not here: there are no gradients.
"""

from __future__ import annotations

from . import _resnest
from ._errors import ModelError

# As typing has it, which takes longer to import than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike
    from typing import Any

    from ._types import Float32, Image, Precision

    # A float32 array (N, C, H, W), or a CPU tensor of torch: what comes in comes out.
    Tensor = Any

__all__ = [
    "Model",
    "Transform",
    "create_model",
    "create_transform",
    "list_models",
    "list_pretrained",
    "resolve_model_data_config",
]


class Model:
    """A network, without gradients: what `create_model` gives.

    Call it with (N, in_chans, H, W) float32, normalised as `create_transform` does it: logits (N, num_classes). An array of
    numpy gives an array, a CPU tensor of torch a tensor. The GIL is released meanwhile.
    """

    def __init__(self, model_name: str, **options: Any) -> None:
        import json

        self._arguments = (model_name, options)
        self._network = _resnest.Network(model_name, **options)
        cfg = json.loads(self._network.pretrained_cfg)
        # As in timm, shapes are tuples.
        self.pretrained_cfg: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in cfg.items()
        }
        """What goes with the weights: input_size, interpolation, mean, std, crop_pct, license and so on."""
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": chans, "reduction": reduction, "module": module}
            for module, chans, reduction in self._network.feature_info
        ]
        """The places where `forward_intermediates` takes maps: num_chs, reduction, module."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), *self._arguments)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.num_classes} classes, {self.num_features} features>"

    @property
    def name(self) -> str:
        """The name to show, such as `resnest50d.in1k`."""
        return self._network.name

    @property
    def default_cfg(self) -> dict[str, Any]:
        """timm's older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 where there is none."""
        return self._network.num_classes

    @property
    def num_features(self) -> int:
        """Channels of the last map."""
        return self._network.num_features

    @property
    def head_hidden_size(self) -> int:
        """What enters the classifier, as in timm."""
        return self._network.num_features

    @property
    def in_chans(self) -> int:
        """Channels of an image."""
        return self._network.in_chans

    @property
    def warnings(self) -> list[str]:
        """What there is to know about the way it was loaded."""
        return self._network.warnings

    def eval(self) -> Model:
        """Itself: it is always in evaluation mode."""
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to logits (N, num_classes).

        Raises ModelError for another shape; TypeError for what is no array of floats.
        """
        return _as(x, self._network.forward(_array(x)))

    def forward(self, x: Tensor) -> Tensor:
        """The same as calling it."""
        return self(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to the last map (N, num_features, H', W')."""
        return _as(x, self._network.forward_features(_array(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map to logits, or with `pre_logits` to what enters the classifier, (N, num_features)."""
        return _as(x, self._network.forward_head(_array(x), pre_logits))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The last map and the maps at the taps of `feature_info`; with `intermediates_only` those alone.

        indices: an int for so many of the last, a sequence of taps (negative ones from the end), or None for all.
        stop_early: no stage beyond the last tap is computed; needs `intermediates_only`.

        Raises ModelError for a tap that is none and for another `output_fmt` than NCHW.
        """
        if output_fmt != "NCHW":
            raise ModelError(f"output_fmt {output_fmt!r}: maps are NCHW")
        if stop_early and not intermediates_only:
            raise ModelError("stop_early leaves no last map: it needs intermediates_only")
        taps = len(self.feature_info)
        if indices is None:
            indices = range(taps)
        elif isinstance(indices, int):
            if not 0 < indices <= taps:
                raise ModelError(f"{indices} taps: there are {taps}")
            indices = range(taps - indices, taps)
        maps = self._network.forward_intermediates(_array(x), list(indices), not intermediates_only)
        made = [_as(x, one) for one in maps]
        return made if intermediates_only else (made[-1], made[:-1])


def create_model(
    model_name: str,
    pretrained: bool = True,
    checkpoint_path: str | PathLike[str] | None = "",
    num_classes: int | None = None,
    in_chans: int = 3,
    global_pool: str | None = None,
    output_stride: int | None = None,
    *,
    cache_dir: str | PathLike[str] | None = None,
    revision: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    batch_size: int = 1,
    input_size: int | tuple[int, int] | None = None,
    weights_cache: bool | str | PathLike[str] | None = None,
) -> Model:
    """A network by timm's name, with its weights: timm's `create_model`, for inference.

    model_name: `arch[.tag]`, `hf-hub:user/repo[@rev]`, `local-dir:path` or `demo`. pretrained: load the weights (unlike timm,
    the default), or start from random ones. checkpoint_path: weights in this file. num_classes: another number than the
    checkpoint's leaves the classifier untrained; 0 for none. in_chans: the stem's weights are adapted as in timm.
    global_pool: `avg`, `max`, `avgmax`, `catavgmax`, or `""` for none. output_stride: 8, 16 or 32. batch_size, input_size:
    of the images to come, for the choice of algorithms; others run too. device, threads, precision, weights_cache: as for
    `Classifier`.

    Raises ModelError, CheckpointError, HubError, NotFoundError.
    """
    options: dict[str, Any] = {
        "pretrained": pretrained or bool(checkpoint_path),
        "checkpoint": checkpoint_path or None,
        "num_classes": num_classes,
        "in_chans": None if in_chans == 3 else in_chans,
        "global_pool": global_pool,
        "output_stride": output_stride,
        "cache_dir": cache_dir,
        "revision": revision,
        "device": device,
        "threads": threads,
        "precision": precision,
        "batch_size": batch_size,
        "input_size": input_size,
        "weights_cache": weights_cache,
    }
    return Model(model_name, **options)


def list_models(
    filter: str | Iterable[str] = "",
    module: str | Iterable[str] = "",
    pretrained: bool = False,
    exclude_filters: str | Iterable[str] = "",
    include_tags: bool | None = None,
) -> list[str]:
    """Names of models that fit patterns of `*` and `?`, in timm's order.

    pretrained: only those with weights, under their tags unless `include_tags` is False. `module` is for timm's files, which
    are one here: it must be empty.

    Raises ModelError for a `module`.
    """
    if module:
        raise ModelError(f"module {module!r}: give a pattern of names as `filter`, such as 'resnest*'")
    tags = pretrained if include_tags is None else include_tags
    tagged = _resnest.model_names()
    if tags:
        names = tagged if pretrained else [*tagged, *_untagged(tagged)]
    else:
        names = list({name.split(".")[0] for name in tagged}) if pretrained else _resnest.architectures()
    wanted, unwanted = _patterns(filter), _patterns(exclude_filters)
    chosen = {
        name
        for name in names
        if (not wanted or _fits(name, wanted)) and not _fits(name, unwanted)
    }
    return sorted(chosen, key=_natural)


def list_pretrained(
    filter: str | Iterable[str] = "", exclude_filters: str | Iterable[str] = ""
) -> list[str]:
    """Names with tags of the models that have weights."""
    return list_models(filter, pretrained=True, exclude_filters=exclude_filters)


def resolve_model_data_config(
    model: Any,
    args: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    use_test_size: bool = False,
) -> dict[str, Any]:
    """How images are prepared for a model, as `create_transform` takes it: timm's function of this name.

    args: what to have otherwise (input_size, crop_pct, interpolation, mean, std, crop_mode). use_test_size: the size and
    crop that the weights recommend at test time.
    """
    cfg = dict(pretrained_cfg if pretrained_cfg is not None else model.pretrained_cfg)
    args = dict(args or {})
    in_chans = getattr(model, "in_chans", 3) or 3
    size = args.get("input_size") or args.get("img_size")
    if size is None:
        size = (use_test_size and cfg.get("test_input_size")) or cfg.get("input_size", (3, 224, 224))
    if isinstance(size, int):
        size = (size, size)
    size = tuple(size)
    size = size if len(size) == 3 else (in_chans, *size)
    test_crop = cfg.get("test_crop_pct") if use_test_size else None
    found = {
        "input_size": (in_chans, *size[1:]) if in_chans != 3 else size,
        "interpolation": args.get("interpolation") or cfg.get("interpolation", "bicubic"),
        "mean": _each(args.get("mean") or cfg.get("mean") or (0.485, 0.456, 0.406), size[0]),
        "std": _each(args.get("std") or cfg.get("std") or (0.229, 0.224, 0.225), size[0]),
        "crop_pct": args.get("crop_pct") or test_crop or cfg.get("crop_pct", 0.875),
        "crop_mode": args.get("crop_mode") or cfg.get("crop_mode", "center"),
    }
    return found


def _each(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """One value for each channel: a single one is for all."""
    return tuple(values) * channels if len(values) == 1 else tuple(values)


class Transform:
    """timm's evaluation transform: an image in, (C, H, W) float32 out, equal to timm's to the last bit.

    An image is what a `Classifier` takes, encoded bytes and paths among them, which are then decoded here, several times
    as fast as by Pillow and to the same pixels. It pickles, for the workers of a DataLoader.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._transform = _resnest.Transform(**options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), None, self._options)

    def __repr__(self) -> str:
        return f"<Transform {', '.join(f'{k}={v}' for k, v in self._options.items())}>"

    def __call__(self, image: Image) -> Float32:
        """(C, H, W) float32. Needs numpy.

        Raises ImageError for a broken image; TypeError for what is no image.
        """
        return self._transform.apply(image)


def create_transform(
    input_size: int | tuple[int, int] | tuple[int, int, int] = 224,
    is_training: bool = False,
    *,
    interpolation: str = "bilinear",
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    crop_pct: float | None = None,
    crop_mode: str | None = None,
    normalize: bool = True,
    **training: Any,
) -> Transform:
    """timm's transform for evaluation: resize, crop, normalise.

    Raises ModelError for what trains: `is_training`, and options that only then mean something.
    """
    if is_training or not normalize or training:
        named = ["is_training"] * is_training + ["normalize=False"] * (not normalize) + list(training)
        raise ModelError(f"{', '.join(named)}: this transform is for evaluation; timm has the other")
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)[-2:]
    return Transform(
        input_size=size,
        crop_pct=crop_pct or 0.875,
        crop_mode=crop_mode or "center",
        interpolation=interpolation,
        mean=list(mean),
        std=list(std),
    )


def _is_torch(x: Any) -> bool:
    return type(x).__module__.split(".")[0] == "torch"


def _array(x: Any) -> Any:
    """`x` as float32 in numpy, in place where it is that already."""
    import numpy

    if _is_torch(x):
        if x.device.type != "cpu":
            raise TypeError(f"the tensor is on {x.device}: move it to the CPU, `x.cpu()`")
        x = x.detach()
        x = x.float().numpy() if x.is_floating_point() else x.numpy()
    array = numpy.asarray(x)
    if array.dtype.kind != "f":
        raise TypeError(f"an array of {array.dtype}: normalised images are float32, as create_transform gives them")
    if array.ndim != 4:
        raise ModelError(f"an array of shape {array.shape}: images are (N, C, H, W)")
    return numpy.ascontiguousarray(array, dtype=numpy.float32)


def _as(x: Any, y: Any) -> Any:
    """`y` as a tensor where `x` is one."""
    if not _is_torch(x):
        return y
    import torch  # pyright: ignore[reportMissingImports]

    return torch.from_numpy(y)


def _remake(kind: Any, name: str | None, options: dict[str, Any]) -> Any:
    return kind(**options) if name is None else kind(name, **options)


def _patterns(given: str | Iterable[str]) -> list[str]:
    if isinstance(given, str):
        return [given] if given else []
    return list(given)


def _fits(name: str, patterns: list[str]) -> bool:
    from fnmatch import fnmatch

    # A pattern without a tag is for names with any.
    return any(fnmatch(name, p) or ("." not in p and fnmatch(name.split(".")[0], p)) for p in patterns)


def _untagged(tagged: list[str]) -> list[str]:
    with_tags = {name.split(".")[0] for name in tagged}
    return [name for name in _resnest.architectures() if name not in with_tags]


def _natural(name: str) -> list[str | int]:
    import re

    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if part.isdigit() else part for part in parts]
