"""Images in Arrow tables: what Ray Data, Spark and Daft are given to run.

`ArrowClassifier` takes a table with a column of encoded images and returns it with the answers as further columns. It is
made on the driver, travels to the workers as its arguments, and loads its network at the first images it sees there:

    ds.map_batches(ArrowClassifier, fn_constructor_kwargs=classifier.arguments, batch_format="pyarrow")          # Ray
    df.mapInArrow(classifier.map_in_arrow, classifier.spark_schema(df.schema))                                   # Spark
    classifier.structs(series.to_arrow())                                                                        # Daft

The columns it adds, one row an image:

| column | type | is |
|---|---|---|
| `labels`, `indices` | `list<utf8>`, `list<int32>` | the `topk` best classes, best first |
| `probabilities`, `logits` | `list<float32>` | theirs |
| `embedding` | `fixed_size_list<float32>[num_features]` | timm's `forward_head(pre_logits=True)`; with `embeddings=True` |
| `error` | `utf8` | why this image has no answers, which are null then; null where all is well |

A broken image costs its own row alone. What keeps every image from an answer (an unknown model, a hub out of reach) is
raised, so that the engine retries or ends the job.

Importing this module imports neither pyarrow nor a network.
"""

# Functions of pyarrow.compute are made when it is imported.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import importlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

    from . import Classifier

    Array: TypeAlias = pa.Array[Any]
    Column: TypeAlias = pa.ChunkedArray[Any]

__all__ = ["ArrowClassifier"]

#: A table or a batch: what goes in comes out.
_Rows = TypeVar("_Rows", "pa.Table", "pa.RecordBatch")

#: Networks that a process keeps for instances still to come (Spark unpickles a new one for every task).
KEPT = 2


class ArrowClassifier:
    """Tables of encoded images in, the same tables with predictions or embeddings out.

    Args:
        model: as for `resnest_rs.Classifier`.
        column: the column of images, `binary`, `large_binary` or `binary_view`, read in place. `image.bytes` is the field
            `bytes` of the struct `image`, as Hugging Face's datasets have it.
        predictions: whether to add `labels`, `indices`, `probabilities` and `logits`.
        embeddings: whether to add `embedding`.
        topk: classes an image; fewer where the network has fewer.
        keep_image: whether the column of images stays (of a struct: the whole struct).
        prefix: goes before the names of the added columns.
        **options: of `resnest_rs.Classifier`: `threads`, `precision`, `checkpoint`, `batch_size`, `weights_cache`, …

    Within one call images are computed `batch_size` at a time from the first row on, and the last bits of an answer may
    depend on the others beside it: some 1e-6 of a probability. An engine that cuts its batches by the clock, as Ray does
    with a `batch_size`, gives the same answers within 1e-5 after a retry; with `batch_size=1` here, the same bits.

    Raises:
        ValueError: neither predictions nor embeddings are asked for, or `topk` is less than 1.
    """

    def __init__(
        self,
        model: str = "resnest50d.in1k",
        *,
        column: str = "image",
        predictions: bool = True,
        embeddings: bool = False,
        topk: int = 5,
        keep_image: bool = False,
        prefix: str = "",
        **options: Any,
    ) -> None:
        if not (predictions or embeddings):
            raise ValueError("nothing to do: ask for predictions=True, embeddings=True or both")
        if topk < 1:
            raise ValueError(f"topk must be at least 1, not {topk}")
        self.model = model
        self.column = column
        self.predictions = predictions
        self.embeddings = embeddings
        self.topk = topk
        self.keep_image = keep_image
        self.prefix = prefix
        self.options = options
        self._classifier: Classifier | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What another one is made of: `ArrowClassifier(**arguments)`. Ray takes a class and these."""
        names = ("model", "column", "predictions", "embeddings", "topk", "keep_image", "prefix")
        return {**{name: getattr(self, name) for name in names}, **self.options}

    def __repr__(self) -> str:
        # Options may hold a token: their names alone.
        return f"ArrowClassifier({self.model!r}, column={self.column!r}, options={sorted(self.options)})"

    def __getstate__(self) -> dict[str, Any]:
        """The arguments; the network stays where it is."""
        return {**self.__dict__, "_classifier": None}

    @property
    def classifier(self) -> Classifier:
        """The network of this process, loaded at the first use and shared by equal instances."""
        if self._classifier is None:
            self._classifier = _shared(self.model, self.options)
        return self._classifier

    def __call__(self, table: _Rows) -> _Rows:
        """`table` less its images, with the answers; a batch for a batch. No rows give no rows of the same schema.

        An `error` that is there already, as `shards.read_tar` gives it, goes before ours.

        Raises:
            KeyError: there is no such column.
            TypeError: the column does not hold bytes.
            ValueError: the table has a column of an added one's name.
            resnest_rs.ResnestError: the model cannot be had.
        """
        import pyarrow as pa

        if isinstance(table, pa.RecordBatch):
            return _one_batch(self._answered(pa.Table.from_batches([table])))
        return self._answered(table)

    def _answered(self, table: pa.Table) -> pa.Table:
        kept = self._kept(table.schema)
        answers = self.answers(_images(table, self.column))
        out = table.select(kept)
        error = self.prefix + "error"
        for name in answers.column_names:
            values = answers.column(name)
            if name == error and error in table.column_names:
                values = _first_of(table.column(error), values)
            out = out.append_column(answers.schema.field(name), values)
        return out.replace_schema_metadata(None)

    def map_in_arrow(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For Spark's `DataFrame.mapInArrow`: batches in, batches out. `embedding` is a `list<float32>`, because Spark
        knows no lists of fixed size."""
        for batch in batches:
            yield _without_fixed_lists(self(batch))

    def answers(self, images: Array | Column) -> pa.Table:
        """The added columns alone, for a column of images. A null is an image without answers, its error `it is null`."""
        import pyarrow as pa

        images = _binary(images, self.column)
        if len(images) == 0:
            return self.answer_schema().empty_table()
        columns: dict[str, Any] = {}
        if self.predictions:
            if self.embeddings:
                predictions, embeddings = self.classifier._outputs(images, self.topk)
                columns["embedding"], _ = self._embedding_column(embeddings)
            else:
                predictions = self.classifier.classify(images, self.topk, errors="return")
            found = predictions.to_arrow()
            columns = {name: found.column(name) for name in ("labels", "indices", "probabilities", "logits")} | columns
            errors = found.column("error")
        else:
            columns["embedding"], errors = self._embedding_column(self.classifier.features(images, errors="return"))
        columns["error"] = _without_place(errors)
        schema = self.answer_schema()
        return pa.Table.from_arrays([_as(column, field.type) for column, field in zip(columns.values(), schema)], schema=schema)

    def structs(self, images: Array | Column) -> Array:
        """`answers` as one column of structs, for engines whose functions return one column, Daft for one. `embedding` is
        a `list<float32>`: Daft 0.7 writes a null list of fixed size to Parquet as an empty one, which nobody can read."""
        import pyarrow as pa

        batch = _without_fixed_lists(_one_batch(self.answers(images)))
        return pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema))

    def answer_schema(self, fixed: bool = True) -> pa.Schema:
        """The added columns' names and types. With `embeddings` this loads the network, which alone knows their length;
        not so `fixed=False`, which has them as lists of any length."""
        import pyarrow as pa

        floats = pa.list_(pa.float32())
        fields: list[tuple[str, pa.DataType]] = []
        if self.predictions:
            fields += [("labels", pa.list_(pa.string())), ("indices", pa.list_(pa.int32()))]
            fields += [("probabilities", floats), ("logits", floats)]
        if self.embeddings:
            fields.append(("embedding", pa.list_(pa.float32(), self.classifier.num_features if fixed else -1)))
        fields.append(("error", pa.string()))
        return pa.schema([(self.prefix + name, kind) for name, kind in fields])

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """What a table of `schema` becomes; for engines that must know beforehand."""
        import pyarrow as pa

        return pa.schema([schema.field(name) for name in self._kept(schema)] + list(self.answer_schema()))

    def spark_schema(self, schema: Any) -> Any:
        """What `map_in_arrow` makes of a DataFrame of `schema` (`df.schema`, or an Arrow schema): a Spark `StructType`.
        Needs no network."""
        import pyarrow as pa

        types = importlib.import_module("pyspark.sql.pandas.types")
        before = schema if isinstance(schema, pa.Schema) else types.to_arrow_schema(schema)
        kept = [before.field(name) for name in self._kept(before)]
        return types.from_arrow_schema(pa.schema(kept + list(self.answer_schema(fixed=False))))

    def _kept(self, schema: pa.Schema) -> list[str]:
        """The input's columns that stay; refuses those that would be there twice."""
        error = self.prefix + "error"
        dropped = {error} if self.keep_image else {error, _whole(schema.names, self.column)}
        kept = [name for name in schema.names if name not in dropped]
        ours = {self.prefix + name for name in self._names()}
        for name in kept:
            if name in ours:
                raise ValueError(f"the table has a column {name!r} already: rename it, or give a prefix=")
        return kept

    def _names(self) -> list[str]:
        names = ["labels", "indices", "probabilities", "logits"] if self.predictions else []
        return [*names, "embedding"] if self.embeddings else names

    def _embedding_column(self, found: Sequence[Any]) -> tuple[Array, Column]:
        """Embeddings, null where there is none, and why."""
        import numpy as np
        import pyarrow as pa

        failed = [str(each) if isinstance(each, BaseException) else None for each in found]
        values = np.zeros((len(found), self.classifier.num_features), np.float32)
        for row, each in enumerate(found):
            if not isinstance(each, BaseException):
                values[row] = each
        missing = pa.array([reason is not None for reason in failed])
        flat = pa.array(values.reshape(-1))
        lists = pa.FixedSizeListArray.from_arrays(flat, self.classifier.num_features, mask=missing)
        return lists, pa.chunked_array([pa.array(failed, pa.string())])


_loaded: OrderedDict[str, Classifier] = OrderedDict()
_lock = threading.Lock()


def _shared(model: str, options: dict[str, Any]) -> Classifier:
    """This process's network for these arguments. While one thread loads it the others wait."""
    from . import Classifier

    key = repr((model, sorted(options.items())))
    with _lock:
        if key not in _loaded:
            _loaded[key] = Classifier(model, **options)
        _loaded.move_to_end(key)
        while len(_loaded) > KEPT:
            _loaded.popitem(last=False)
        return _loaded[key]


def _after_fork() -> None:
    """A thread of the parent may have held the lock; there is no such thread here to let it go."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _whole(names: list[str], column: str) -> str:
    """The column that `column` is, or is a field of."""
    return column if column in names else column.partition(".")[0]


def _images(table: pa.Table, column: str) -> Column:
    """The column of images. Engines may hand an empty table without any columns: it has none either."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not table.column_names and table.num_rows == 0:
        return pa.chunked_array([], pa.binary())
    whole = _whole(table.column_names, column)
    if whole not in table.column_names:
        raise KeyError(f"the table has no column {column!r}, but {', '.join(table.column_names)}: give column=")
    values = table.column(whole)
    if whole == column:
        return values
    if not pa.types.is_struct(values.type):
        raise TypeError(f"column {whole!r} is {values.type}, no struct: it has no {column!r}")
    try:
        field: Column = pc.struct_field(values, column.split(".")[1:])
    except pa.ArrowInvalid as error:
        raise KeyError(f"column {whole!r} is {values.type}: it has no {column!r}") from error
    return field


def _binary(images: Array | Column, column: str) -> Column:
    """The images as a chunked column of bytes, not copied; columns of nothing but nulls have no type of their own."""
    import pyarrow as pa

    kind = images.type
    if pa.types.is_null(kind):
        images, kind = images.cast(pa.binary()), pa.binary()
    if pa.types.is_dictionary(kind):
        images, kind = images.cast(kind.value_type), kind.value_type
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not any(check(kind) for check in binary):
        raise TypeError(f"column {column!r} is {kind}: images are encoded files' bytes (binary)")
    return images if isinstance(images, pa.ChunkedArray) else pa.chunked_array([images])


def _first_of(*columns: Column) -> Column:
    """Of each row the first that is not null."""
    import pyarrow.compute as pc

    return columns[0] if len(columns) == 1 else pc.coalesce(*columns)


def _without_place(errors: Column) -> Column:
    """Errors say `image 3: …`; where an engine cut its batch is nothing to the row."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(errors, pattern=r"^image \d+: ", replacement="")


def _as(column: Any, kind: pa.DataType) -> Any:
    return column if column.type == kind else column.cast(kind)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch, also without rows."""
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _without_fixed_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa

    columns, fields = [], []
    for field, column in zip(batch.schema, batch.columns):
        if pa.types.is_fixed_size_list(field.type):
            kind = pa.list_(field.type.value_type)
            field, column = field.with_type(kind), column.cast(kind)
        columns.append(column)
        fields.append(field)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
