"""What type checkers make of typical use: read by mypy --strict and pyright, never run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas
import pyarrow
from numpy.typing import NDArray
from PIL import Image

import resnest_rs
from resnest_rs import (
    ActivationMap,
    Class,
    Classifier,
    ImageError,
    Model,
    Prediction,
    Predictions,
    ResnestError,
    Transform,
)

Floats = NDArray[np.float32]


def classifier() -> None:
    c = Classifier("resnest50d.in1k", threads=4, precision="fast", input_size=(224, 224), checkpoint=Path("w"))
    assert_type(c.classify("photo.jpg"), Prediction)
    assert_type(c.classify(Path("photo.jpg"), topk=1), Prediction)
    assert_type(c.classify(b"", errors="raise"), Prediction)
    assert_type(c.classify(b"", errors="return"), Prediction | ResnestError)
    assert_type(c.classify(["a.jpg", b"", Path("c.jpg")]), Predictions)
    assert_type(c.classify(("a.jpg", "b.jpg"), errors="return"), Predictions)
    assert_type(c.classify(io.BytesIO()), Prediction)
    assert_type(c.classify(open("photo.jpg", "rb")), Prediction)
    assert_type(c.classify(Image.new("RGB", (3, 3))), Prediction)
    assert_type(c.classify(np.zeros((3, 3, 3), np.uint8)), Prediction)
    assert_type(c.classify(memoryview(b"")), Prediction)

    assert_type(c.logits("photo.jpg"), Floats)
    assert_type(c.logits(["photo.jpg"]), Floats)
    assert_type(c.logits("photo.jpg", errors="return"), Floats | ResnestError)
    assert_type(c.logits(["photo.jpg"], errors="return"), list[Floats | ResnestError])
    assert_type(c.probabilities("photo.jpg"), Floats)
    assert_type(c.features(["photo.jpg"], 3), Floats)
    assert_type(c.features("photo.jpg", "layer4", errors="return"), Floats | ResnestError)
    assert_type(c.preprocess(["photo.jpg"]), Floats)
    assert_type(c.cam("photo.jpg", "tabby"), ActivationMap)
    assert_type(c.input_size, tuple[int, int])
    assert_type(c.labels, list[str])
    assert_type(c.threads, int)


def results(c: Classifier) -> None:
    answer = c.classify("photo.jpg")
    assert_type(answer.top, Class)
    assert_type(answer[0], Class)
    assert_type(answer.top.label, str)
    assert_type(answer.top.description, str | None)
    assert_type(answer.top.probability, float)
    for one in answer:
        assert_type(one, Class)
    answers = c.classify(["photo.jpg"], errors="return")
    assert_type(answers.errors, dict[int, ResnestError])
    for each in answers:
        if isinstance(each, Prediction):
            assert_type(each.top.index, int)
        else:
            assert_type(each, ResnestError)
    assert_type(answers.to_pandas(), pandas.DataFrame)
    table: pyarrow.Table = answers.to_arrow()
    print(table)
    cam = c.cam("photo.jpg")
    assert_type(cam.best, Class)
    assert_type(cam.label, str)


def streams(c: Classifier, paths: Iterator[Path]) -> None:
    for answer in c.stream(paths):
        assert_type(answer, Prediction)
    for kept in c.stream(paths, errors="return"):
        assert_type(kept, Prediction | ResnestError)
    for values in c.stream(paths, task="features", stage=2):
        assert_type(values, Floats)
    for row in c.stream(["a.jpg"], task="logits", errors="return"):
        assert_type(row, Floats | ResnestError)


def as_timm() -> None:
    model = resnest_rs.create_model("resnest50d.in1k", pretrained=True, num_classes=10, in_chans=1)
    assert_type(model, Model)
    assert_type(model.eval(), Model)
    assert_type(model.num_features, int)
    assert_type(model.feature_info, list[dict[str, Any]])
    config = resnest_rs.resolve_model_data_config(model)
    assert_type(config, dict[str, Any])
    transform = resnest_rs.create_transform(**config)
    assert_type(transform, Transform)
    assert_type(transform("photo.jpg"), Floats)
    logits: Floats = model(transform("photo.jpg")[None])
    print(logits)
    assert_type(resnest_rs.list_models("resnest*", pretrained=True), list[str])
    assert_type(resnest_rs.list_pretrained(), list[str])


def errors(c: Classifier) -> None:
    try:
        c.classify(["photo.jpg"])
    except ImageError as error:
        assert_type(error.index, int | None)
    except ResnestError as error:
        print(error)


def mistakes(c: Classifier) -> None:
    # Each is told; an unused ignore would be told too.
    c.classify(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    c.classify("photo.jpg", errors="ignore")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    c.stream(["photo.jpg"], task="nonsense")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    Classifier(precision="double")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    c.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
