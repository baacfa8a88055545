"""The classifier: encoded images in, classes, logits, features and maps out."""

from __future__ import annotations

from . import _resnest
from ._results import ActivationMap, Class, Prediction, Predictions

# As typing has it, which takes longer to import than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike
    from typing import Any, Literal, overload

    from ._errors import ResnestError
    from ._types import Errors, Float32, Image, Images, Precision
else:
    from ._results import overload


class Classifier:
    """A model with everything that belongs to it: preprocessing, labels, device, threads.

    >>> classifier = Classifier("demo")
    >>> classifier.classify("chelsea.png").top.label
    'cat'

    name: `demo` (a small ResNeSt inside the package), `arch[.tag]` such as `resnest50d.in1k`, `hf-hub:user/repo[@rev]` or
    `local-dir:path`. Weights come from the Hugging Face hub, once, into the cache that huggingface_hub shares.

    device: `auto`, `cpu`, `cuda`, `cuda:N`, `metal`. threads: for decoding and computing; by default RESNEST_NUM_THREADS,
    else OMP_NUM_THREADS, else the CPUs that the process may use (affinity and cgroup). precision: `fast` (f32, Winograd
    where it is faster), `exact`, `bf16`, `int8` (of a checkpoint that `resnest quantize` made), or `auto`, the default:
    what goes with the checkpoint. input_size: pixels, a side or (height, width). crop_pct, crop_mode (`center`, `squash`,
    `border`), interpolation: timm's; all four by default the checkpoint's. batch_size: images computed at once.
    checkpoint: a file with the weights of architecture `name`. num_classes: another number than the checkpoint's, which
    leaves the classifier untrained; 0 for features alone. in_chans, global_pool, test_time_pool: as in timm. revision,
    offline, cache_dir, endpoint, token: the hub's; by default as the environment says (HF_HUB_OFFLINE, HF_HUB_CACHE,
    HF_ENDPOINT, HF_TOKEN). manifest: a file with more models. max_pixels: of one image; larger ones are refused.
    weights_cache: where packed weights are kept, to be shared by the processes of a machine: a folder, False for nowhere, by
    default as RESNEST_WEIGHTS_CACHE says, else ~/.cache/resnest/weights.

    An image is encoded bytes (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, TGA, QOI, ICO), a path (str or os.PathLike), a Pillow
    image, a uint8 array (H, W, 3), (H, W, 1) or (H, W), or a file that is open for reading bytes. Several of them are a list
    or tuple, or a binary array or column of pyarrow, polars or daft, which is read where it lies. For more than memory
    holds there is `stream`.

    Every method may be called from several threads at once, releases the GIL while it decodes and computes, and hears
    Ctrl-C between batches. A classifier pickles as its arguments; a fork starts threads of its own.

    Raises ModelError (unknown name, options that do not fit), CheckpointError, HubError, NotFoundError.
    """

    def __init__(
        self,
        name: str = "resnest50d.in1k",
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
        input_size: int | tuple[int, int] | None = None,
        crop_pct: float | None = None,
        crop_mode: str | None = None,
        interpolation: str | None = None,
        batch_size: int = 8,
        checkpoint: str | PathLike[str] | None = None,
        num_classes: int | None = None,
        in_chans: int | None = None,
        global_pool: str | None = None,
        test_time_pool: bool = False,
        revision: str | None = None,
        manifest: str | PathLike[str] | None = None,
        offline: bool | None = None,
        cache_dir: str | PathLike[str] | None = None,
        endpoint: str | None = None,
        token: str | None = None,
        max_pixels: int | None = None,
        weights_cache: bool | str | PathLike[str] | None = None,
    ) -> None:
        options = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._arguments: dict[str, Any] = {"name": name, **options}
        self._engine = _resnest.Engine(name, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self._arguments)

    def __repr__(self) -> str:
        height, width = self.input_size
        return (
            f"<Classifier {self.name} on {self.device}, {self.precision}: {height}x{width}, "
            f"{self.num_classes} classes, {self.threads} threads>"
        )

    @property
    def name(self) -> str:
        """The model's name, such as `resnest50d.in1k`."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda:0`, `metal`."""
        return self._engine.device

    @property
    def precision(self) -> str:
        """What it computes in: `fast`, `exact`, `bf16`, `int8`; `unfused` on other devices than the CPU."""
        return self._engine.precision

    @property
    def threads(self) -> int:
        """Threads it decodes and computes on."""
        return self._engine.threads

    @property
    def batch_size(self) -> int:
        """Images computed at once."""
        return self._engine.batch_size

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 where there is none."""
        return self._engine.num_classes

    @property
    def num_features(self) -> int:
        """Values of an embedding."""
        return self._engine.num_features

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of what the network sees."""
        return self._engine.input_size

    @property
    def labels(self) -> list[str]:
        """The name of each class, by index."""
        return self._engine.labels

    @property
    def warnings(self) -> list[str]:
        """What there is to know about the way it was loaded, such as an old name that was mapped."""
        return self._engine.warnings

    @overload
    def classify(  # type: ignore[overload-overlap]
        self, images: Image, topk: int = 5, *, errors: Literal["raise"] = "raise"
    ) -> Prediction: ...
    @overload
    def classify(  # type: ignore[overload-overlap]
        self, images: Image, topk: int = 5, *, errors: Literal["return"]
    ) -> Prediction | ResnestError: ...
    @overload
    def classify(
        self, images: Images, topk: int = 5, *, errors: Errors = "raise"
    ) -> Predictions: ...
    def classify(
        self, images: Image | Images, topk: int = 5, *, errors: Errors = "raise"
    ) -> Predictions | Prediction | ResnestError:
        """The `topk` best classes: a `Prediction` for one image, `Predictions` for several.

        errors: `raise` an ImageError that names the first broken image, or `return` the error in its place.

        Raises ImageError; ResnestError for a model without classes; TypeError for what is no image.
        """
        answers, single = self._engine.predictions(images, topk, errors)
        made = [_prediction(one) for one in answers]
        return made[0] if single else Predictions(made)

    @overload
    def logits(self, images: Image | Images, *, errors: Literal["raise"] = "raise") -> Float32: ...
    @overload
    def logits(  # type: ignore[overload-overlap]
        self, images: Image, *, errors: Literal["return"]
    ) -> Float32 | ResnestError: ...
    @overload
    def logits(
        self, images: Images, *, errors: Literal["return"]
    ) -> list[Float32 | ResnestError]: ...
    def logits(
        self, images: Image | Images, *, errors: Errors = "raise"
    ) -> Float32 | ResnestError | list[Float32 | ResnestError]:
        """The classifier's output: (classes,) float32 for one image, (N, classes) for several. Needs numpy.

        With `errors="return"` several images give a list of rows, with the error in the place of a broken image.

        Raises as `classify`.
        """
        return self._values(images, "logits", None, errors)

    @overload
    def probabilities(
        self, images: Image | Images, *, errors: Literal["raise"] = "raise"
    ) -> Float32: ...
    @overload
    def probabilities(  # type: ignore[overload-overlap]
        self, images: Image, *, errors: Literal["return"]
    ) -> Float32 | ResnestError: ...
    @overload
    def probabilities(
        self, images: Images, *, errors: Literal["return"]
    ) -> list[Float32 | ResnestError]: ...
    def probabilities(
        self, images: Image | Images, *, errors: Errors = "raise"
    ) -> Float32 | ResnestError | list[Float32 | ResnestError]:
        """The softmax of `logits`, of the same shape."""
        return self._values(images, "probabilities", None, errors)

    @overload
    def features(
        self,
        images: Image | Images,
        stage: int | str | None = None,
        *,
        errors: Literal["raise"] = "raise",
    ) -> Float32: ...
    @overload
    def features(  # type: ignore[overload-overlap]
        self, images: Image, stage: int | str | None = None, *, errors: Literal["return"]
    ) -> Float32 | ResnestError: ...
    @overload
    def features(
        self, images: Images, stage: int | str | None = None, *, errors: Literal["return"]
    ) -> list[Float32 | ResnestError]: ...
    def features(
        self, images: Image | Images, stage: int | str | None = None, *, errors: Errors = "raise"
    ) -> Float32 | ResnestError | list[Float32 | ResnestError]:
        """Embeddings, timm's `forward_head(x, pre_logits=True)`: (num_features,) float32, or (N, num_features).

        stage: 0 to 4 (or `act1`, `layer1` to `layer4`) for the map behind that tap of timm's `feature_info`: (C, H, W), or
        (N, C, H, W).

        Raises as `classify`; ModelError for a stage that is none.
        """
        return self._values(images, "features", stage, errors)

    @overload
    def preprocess(
        self, images: Image | Images, *, errors: Literal["raise"] = "raise"
    ) -> Float32: ...
    @overload
    def preprocess(  # type: ignore[overload-overlap]
        self, images: Image, *, errors: Literal["return"]
    ) -> Float32 | ResnestError: ...
    @overload
    def preprocess(
        self, images: Images, *, errors: Literal["return"]
    ) -> list[Float32 | ResnestError]: ...
    def preprocess(
        self, images: Image | Images, *, errors: Errors = "raise"
    ) -> Float32 | ResnestError | list[Float32 | ResnestError]:
        """What the network sees, timm's evaluation transform: (C, H, W) float32, or (N, C, H, W)."""
        return self._values(images, "pixels", None, errors)

    def cam(self, image: Image, label: int | str | None = None) -> ActivationMap:
        """Where in the image a class was seen: exact for a head of average pool and linear classifier.

        label: a class by index, name or words of its description; by default the best.

        Raises ImageError; ModelError for an unknown class or another head.
        """
        best, values, map_ = self._engine.cam(image, label)
        return ActivationMap(Class(*best), values, map_)

    @overload
    def stream(
        self,
        images: Iterable[Image],
        topk: int = 5,
        *,
        task: Literal["classify"] = "classify",
        stage: int | str | None = None,
        errors: Literal["raise"] = "raise",
        batch_size: int | None = None,
    ) -> Iterator[Prediction]: ...
    @overload
    def stream(
        self,
        images: Iterable[Image],
        topk: int = 5,
        *,
        task: Literal["classify"] = "classify",
        stage: int | str | None = None,
        errors: Literal["return"],
        batch_size: int | None = None,
    ) -> Iterator[Prediction | ResnestError]: ...
    @overload
    def stream(
        self,
        images: Iterable[Image],
        topk: int = 5,
        *,
        task: Literal["logits", "probabilities", "features", "pixels"],
        stage: int | str | None = None,
        errors: Literal["raise"] = "raise",
        batch_size: int | None = None,
    ) -> Iterator[Float32]: ...
    @overload
    def stream(
        self,
        images: Iterable[Image],
        topk: int = 5,
        *,
        task: Literal["logits", "probabilities", "features", "pixels"],
        stage: int | str | None = None,
        errors: Literal["return"],
        batch_size: int | None = None,
    ) -> Iterator[Float32 | ResnestError]: ...
    def stream(
        self,
        images: Iterable[Image],
        topk: int = 5,
        *,
        task: str = "classify",
        stage: int | str | None = None,
        errors: Errors = "raise",
        batch_size: int | None = None,
    ) -> Iterator[Prediction | Float32 | ResnestError]:
        """One answer for each image, in order, for as many as there are: memory does not grow with their number.

        Images are taken from the iterator as there is room, two batches ahead of the network, on the caller's thread; they
        are read and decoded beside the network.

        task: `classify`, `logits`, `probabilities`, `features` (of `stage`) or `pixels`.

        Raises as `classify`, in the place of the image; after that the stream has ended. What the iterator raises comes
        through after the answers of the images before.
        """
        stream = self._engine.stream(images, task, topk, stage, errors, batch_size)
        if task == "classify":
            return map(_prediction, stream)
        return stream

    def _outputs(self, images: Images, topk: int) -> tuple[Predictions, list[Float32 | Exception]]:
        """What `classify` and `features` give with `errors="return"`, from one forward."""
        outputs = self._engine.outputs(images, topk)
        classes = Predictions([_prediction(one if isinstance(one, Exception) else one[0]) for one in outputs])
        return classes, [one if isinstance(one, Exception) else one[1] for one in outputs]

    def _values(
        self, images: Any, task: str, stage: int | str | None, errors: str
    ) -> Float32 | ResnestError | list[Float32 | ResnestError]:
        values, single = self._engine.values(images, task, stage, errors)
        answer: Float32 | ResnestError | list[Float32 | ResnestError]
        answer = values[0] if single else values
        return answer


def _prediction(answer: Any) -> Any:
    if isinstance(answer, Exception):
        return answer
    return Prediction(Class(*row) for row in answer)


def _remake(kind: type[Classifier], arguments: dict[str, Any]) -> Classifier:
    return kind(**arguments)
