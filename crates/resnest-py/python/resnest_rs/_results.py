"""What classifiers answer."""

from __future__ import annotations

from . import _resnest

# As typing has it, which takes longer to import than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, overload

    import pandas
    import pyarrow

    from ._errors import ResnestError
    from ._types import Float32
else:

    def overload(method):
        """One of a method's signatures, for type checkers alone."""
        return method


class Class(tuple[int, str, "str | None", float, float]):
    """One class of an answer: a tuple whose places have names."""

    __slots__ = ()
    __match_args__ = ("index", "label", "description", "probability", "logit")

    def __new__(
        cls, index: int, label: str, description: str | None, probability: float, logit: float
    ) -> Class:
        """Of these fields, in this order."""
        return tuple.__new__(cls, (index, label, description, probability, logit))

    def __getnewargs__(self) -> tuple[int, str, str | None, float, float]:
        return self[0], self[1], self[2], self[3], self[4]

    @property
    def index(self) -> int:  # type: ignore[override]
        """Its place in the classifier, from 0."""
        return self[0]

    @property
    def label(self) -> str:
        """Its name: a WordNet synset for ImageNet, the label in the model's config otherwise."""
        return self[1]

    @property
    def description(self) -> str | None:
        """The class in words, where known."""
        return self[2]

    @property
    def probability(self) -> float:
        """Softmax over all classes, in 0..1."""
        return self[3]

    @property
    def logit(self) -> float:
        """The classifier's output before the softmax."""
        return self[4]

    def __repr__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in zip(self.__match_args__, self))
        return f"Class({', '.join(fields)})"


class Prediction(tuple["Class", ...]):
    """The best classes of one image, best first: a tuple of `Class`."""

    __slots__ = ()

    @property
    def top(self) -> Class:
        """The best class.

        Raises IndexError where `topk` was 0.
        """
        return self[0]

    def __repr__(self) -> str:
        return f"<Prediction {self}>"

    def __str__(self) -> str:
        named = (f"{one.description or one.label} {100 * one.probability:.1f}%" for one in self)
        return ", ".join(named) or "no classes"


class Predictions:
    """One `Prediction` for each image, in order; with `errors="return"` the exception in the place of a broken one.

    A sequence that does not change. Not a tuple: libraries of tables take those for columns.
    """

    __slots__ = ("_answers",)
    _answers: tuple[Prediction | ResnestError, ...]

    def __init__(self, answers: Iterable[Prediction | ResnestError] = ()) -> None:
        object.__setattr__(self, "_answers", tuple(answers))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"predictions do not change: {name!r} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._answers,)

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Prediction | ResnestError]:
        return iter(self._answers)

    def __reversed__(self) -> Iterator[Prediction | ResnestError]:
        return reversed(self._answers)

    def __contains__(self, one: object) -> bool:
        return one in self._answers

    @overload
    def __getitem__(self, at: int) -> Prediction | ResnestError: ...
    @overload
    def __getitem__(self, at: slice) -> Predictions: ...
    def __getitem__(self, at: int | slice) -> Prediction | ResnestError | Predictions:
        if isinstance(at, slice):
            return Predictions(self._answers[at])
        return self._answers[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Predictions):
            return self._answers == other._answers
        # A tuple of the same answers, which has the same hash.
        return self._answers == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._answers)

    def __repr__(self) -> str:
        lines = (f"  {at}: {one}" for at, one in enumerate(self[:20]))
        more = f"\n  ... {len(self) - 20} more" if len(self) > 20 else ""
        return f"<{len(self)} predictions\n{chr(10).join(lines)}{more}>"

    @property
    def errors(self) -> dict[int, ResnestError]:
        """The errors by the place of their image; empty where all went well."""
        return {at: one for at, one in enumerate(self) if isinstance(one, Exception)}

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's PyCapsule interface: any library that knows it reads the table without a copy.

        One row an image: indices (list<int32>), labels (list<utf8>), probabilities and logits (list<float32>), error
        (utf8, null where there is none; the others are null where there is one).
        """
        return _resnest.predictions_stream(list(self))

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow table of one row an image; see `__arrow_c_stream__` for its columns. Needs pyarrow."""
        import pyarrow

        return pyarrow.table(self)

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame of one row a class: image, rank, index, label, description, probability, logit, error.

        A broken image has one row, with its error. Needs pandas.
        """
        import pandas

        columns = ["image", "rank", *Class.__match_args__, "error"]
        frame = pandas.DataFrame.from_records(list(_rows(self)), columns=columns)
        # The kind of integers that may be missing.
        return frame.astype({"index": "Int64"})


def _rows(predictions: Predictions) -> Iterable[tuple[Any, ...]]:
    for image, answer in enumerate(predictions):
        if isinstance(answer, Exception):
            yield (image, 0, None, None, None, None, None, str(answer))
        else:
            for rank, one in enumerate(answer):
                yield (image, rank, *one, None)


class ActivationMap:
    """Where in an image one class was seen: a value for every cell of the last feature map.

    The mean of `values` is the class's logit less the classifier's bias: they are exact, and need no gradients.
    """

    __slots__ = ("_map", "best", "values")

    def __init__(self, prediction: Class, values: Float32, map_: _resnest.Map) -> None:
        self.best = prediction
        """The class, and how sure the model was of it."""
        self.values = values
        """(H, W) float32 as it is; negative where something spoke against the class."""
        self._map = map_

    @property
    def label(self) -> str:
        """The class's name."""
        return self.best.label

    @property
    def index(self) -> int:
        """The class's index."""
        return self.best.index

    def resized(self, height: int, width: int) -> Float32:
        """(height, width) float32 from 0 to 1, bilinear: what `pytorch-grad-cam`'s GradCAM gives for the last layer."""
        return self._map.resized(height, width)

    def over_image(self) -> Float32:
        """(H, W) float32 of the image's own size, 0 to 1; NaN where the crop has left something out."""
        return self._map.over_image()

    def __repr__(self) -> str:
        height, width = self.values.shape
        return f"<ActivationMap {self.label} {100 * self.best.probability:.1f}%, {height}x{width}>"
