"""Against what timm said when record.py asked it: runs without torch."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnest_rs
from helpers import CLOSE, DEMO_PHOTOS
from transforms import pictures


@pytest.fixture(scope="module")
def files(recorded: dict[str, Any]) -> list[bytes]:
    return [(DEMO_PHOTOS / name).read_bytes() for name in recorded["photos"]]


@pytest.fixture(scope="module")
def model() -> resnest_rs.Model:
    return resnest_rs.create_model("demo", threads=2)


@pytest.fixture(scope="module")
def batch(model: resnest_rs.Model, files: list[bytes]) -> Any:
    """(2, 3, 48, 48), by the transform."""
    transform = resnest_rs.create_transform(**resnest_rs.resolve_model_data_config(model))
    return np.stack([transform(file) for file in files])


def test_logits_and_probabilities(
    demo: resnest_rs.Classifier, files: list[bytes], recorded: dict[str, Any]
) -> None:
    np.testing.assert_allclose(demo.logits(files), recorded["logits"], **CLOSE)
    np.testing.assert_allclose(demo.probabilities(files), recorded["probabilities"], **CLOSE)


def test_classes(demo: resnest_rs.Classifier, files: list[bytes], recorded: dict[str, Any]) -> None:
    for one, probabilities, logits in zip(
        demo.classify(files, topk=10), recorded["probabilities"], recorded["logits"], strict=True
    ):
        assert isinstance(one, resnest_rs.Prediction)
        order = sorted(range(10), key=lambda index: -probabilities[index])
        assert [c.index for c in one] == order
        assert [c.label for c in one] == [demo.labels[index] for index in order]
        assert [c.probability for c in one] == pytest.approx([probabilities[i] for i in order], abs=1e-4)
        assert [c.logit for c in one] == pytest.approx([logits[i] for i in order], abs=2e-4)
        assert one.top is one[0]


def test_features(demo: resnest_rs.Classifier, files: list[bytes], recorded: dict[str, Any]) -> None:
    np.testing.assert_allclose(demo.features(files), recorded["features"], **CLOSE)
    for stage, expected in enumerate(recorded["maps"]):
        found = demo.features(files, stage)
        same_map(found, expected)
        assert np.array_equal(demo.features(files, recorded["feature_info"][stage]["module"]), found)
        assert np.array_equal(demo.features(files, stage - 5), found)


def test_the_model(model: resnest_rs.Model, batch: Any, recorded: dict[str, Any]) -> None:
    np.testing.assert_allclose(model(batch), recorded["logits"], **CLOSE)
    last, maps = model.forward_intermediates(batch)
    assert len(maps) == len(recorded["maps"])
    for found, expected in zip(maps, recorded["maps"], strict=True):
        same_map(found, expected)
    same_map(last, recorded["maps"][-1])
    same_map(model.forward_features(batch), recorded["maps"][-1])
    np.testing.assert_allclose(model.forward_head(last, pre_logits=True), recorded["features"], **CLOSE)
    np.testing.assert_allclose(model.forward_head(last), recorded["logits"], **CLOSE)
    assert model.feature_info == recorded["feature_info"]
    assert (model.num_classes, model.num_features, model.in_chans) == (10, 512, 3)


def same_map(found: Any, expected: dict[str, Any]) -> None:
    assert list(found.shape) == expected["shape"]
    np.testing.assert_allclose(found.mean((2, 3)), expected["means"], **CLOSE)
    np.testing.assert_allclose(found[:, :, 0, 0], expected["first"], **CLOSE)


def test_data_config(model: resnest_rs.Model, recorded: dict[str, Any]) -> None:
    config = resnest_rs.resolve_model_data_config(model)
    assert json.loads(json.dumps(config)) == recorded["config"]
    assert isinstance(config["input_size"], tuple)


def test_transforms_bit_for_bit(recorded: dict[str, Any]) -> None:
    images = [(name, np.asarray(picture)) for name, picture in pictures(DEMO_PHOTOS)]
    wrong = []
    for case in recorded["transforms"]:
        chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in case["options"].items()}
        transform, digest = resnest_rs.create_transform(**chosen), hashlib.sha256()
        for _, image in images:
            try:
                digest.update(transform(image).tobytes())
            except resnest_rs.ImageError:
                digest.update(b"refused")
        if digest.hexdigest() != case["sha256"]:
            wrong.append(chosen)
    assert not wrong


def test_the_recorded_photos_of_cifar(demo: resnest_rs.Classifier, shared: Path) -> None:
    # A tenth of the test set, whose logits timm left when the model was trained.
    said = json.loads((shared / "demo-model" / "test_predictions.json").read_text())["logits"]
    names = list(said)[::10]
    folder = shared / "data" / "cifar10-test"
    found = np.stack(list(demo.stream((folder / name for name in names), task="logits", batch_size=32)))
    np.testing.assert_allclose(found, [said[name] for name in names], rtol=1e-3, atol=5e-4)


def test_the_cam_sums_to_the_logit(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    cam = demo.cam(chelsea)
    assert (cam.label, cam.index) == ("cat", 3)
    assert cam.values.shape == (2, 2) and cam.values.dtype == np.float32
    # The mean of each class's map is its logit less its bias, which is the same for all images.
    other = Image.open(io.BytesIO(chelsea)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    biases = [demo.logits(image)[3] - demo.cam(image, "cat").values.mean() for image in (chelsea, other)]
    assert biases[0] == pytest.approx(biases[1], abs=1e-4)
    assert demo.cam(chelsea, 7).label == "horse"
    assert cam.resized(30, 20).shape == (30, 20)
    over = cam.over_image()
    assert over.shape == (300, 451)
    # The crop is the middle 300x300: beside it the model saw nothing.
    assert np.isnan(over[:, :74]).all() and not np.isnan(over[:, 77:374]).any()
    with pytest.raises(resnest_rs.ModelError, match="elephant"):
        demo.cam(chelsea, "elephant")
    with pytest.raises(resnest_rs.ModelError):
        demo.cam(chelsea, 10)
