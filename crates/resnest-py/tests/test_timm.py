"""Against timm itself, where torch and timm are installed: the same lines, the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnest_rs
from helpers import CLOSE
from transforms import options

torch = pytest.importorskip("torch", reason="torch is not installed")
timm = pytest.importorskip("timm", reason="timm is not installed")

# Of the ResNeSt paper's ablation, which timm does not have.
PAPER = {f"resnest50d_{kind}" for kind in ("1s1x64d", "2s1x64d", "4s1x64d", "1s2x40d", "2s2x40d")}


@pytest.fixture(scope="module", autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model(shared: Path) -> resnest_rs.Model:
    return resnest_rs.create_model(f"local-dir:{shared}/demo-model", threads=2)


@pytest.fixture(scope="module")
def batch(timm_model: Any, photos: list[Path]) -> Any:
    """(100, 3, 48, 48), by timm."""
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(timm_model))
    return torch.stack([transform(Image.open(photo).convert("RGB")) for photo in photos])


def test_data_config(timm_model: Any, model: resnest_rs.Model) -> None:
    for args in (
        None,
        {},
        {"crop_pct": 0.9},
        {"input_size": (3, 64, 80)},
        {"img_size": 64},
        {"input_size": None, "interpolation": "bicubic", "crop_mode": "border"},
        {"mean": [0.5], "std": [0.25]},
        {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)},
    ):
        for test_size in (False, True):
            theirs = timm.data.resolve_model_data_config(timm_model, args, use_test_size=test_size)
            ours = resnest_rs.resolve_model_data_config(model, args, use_test_size=test_size)
            assert {k: as_tuple(v) for k, v in ours.items()} == {k: as_tuple(v) for k, v in theirs.items()}, args
    cfg = {"input_size": (3, 10, 20), "test_input_size": (3, 30, 30), "test_crop_pct": 1.0, "crop_pct": 0.8}
    for test_size in (False, True):
        assert resnest_rs.resolve_model_data_config(
            model, pretrained_cfg=cfg, use_test_size=test_size
        ) == timm.data.resolve_model_data_config(timm_model, pretrained_cfg=cfg, use_test_size=test_size)


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_pretrained_cfg(timm_model: Any, model: resnest_rs.Model) -> None:
    for key in ("tag", "input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes"):
        assert as_tuple(model.pretrained_cfg[key]) == as_tuple(timm_model.pretrained_cfg[key]), key
    assert model.feature_info == timm_model.feature_info
    for name in ("num_classes", "num_features", "head_hidden_size"):
        assert getattr(model, name) == getattr(timm_model, name)


def test_the_network(timm_model: Any, model: resnest_rs.Model, batch: Any) -> None:
    close(model(batch), timm_model(batch))
    close(model.forward(batch), timm_model(batch))
    last = model.forward_features(batch)
    close(last, timm_model.forward_features(batch))
    for pre_logits in (False, True):
        theirs = timm_model.forward_head(timm_model.forward_features(batch), pre_logits=pre_logits)
        close(model.forward_head(last, pre_logits=pre_logits), theirs)


@pytest.mark.parametrize("indices", [None, 1, 3, [0, 2], [-1], [4, 1], range(5)])
def test_intermediates(indices: Any, timm_model: Any, model: resnest_rs.Model, batch: Any) -> None:
    few = batch[:9]
    last, maps = model.forward_intermediates(few, indices)
    their_last, their_maps = timm_model.forward_intermediates(few, indices)
    close(last, their_last)
    for ours, theirs in zip(maps, their_maps, strict=True):
        close(ours, theirs)
    alone = model.forward_intermediates(few, indices, stop_early=True, intermediates_only=True)
    theirs = timm_model.forward_intermediates(few, indices, stop_early=True, intermediates_only=True)
    assert [list(one.shape) for one in alone] == [list(one.shape) for one in theirs]


def close(ours: Any, theirs: Any) -> None:
    assert isinstance(ours, torch.Tensor) and ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=5e-4, atol=5e-4)


def test_arrays_and_tensors(model: resnest_rs.Model, batch: Any) -> None:
    as_array = model(batch.numpy())
    assert isinstance(as_array, np.ndarray)
    assert np.array_equal(as_array, model(batch).numpy())
    # However the values lie in memory, and in whichever float they are.
    lying = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert np.array_equal(model(lying).numpy(), as_array)
    assert np.array_equal(model(np.asfortranarray(batch.numpy())), as_array)
    assert np.array_equal(model(batch.double()).numpy(), as_array)
    assert np.array_equal(model(batch.numpy()[::2]), model(batch[::2].clone()).numpy())
    assert np.allclose(model(batch.half()).numpy(), as_array, atol=5e-2)
    requires = batch[:2].clone().requires_grad_()
    assert not model(requires).requires_grad
    with pytest.raises(resnest_rs.ModelError, match=r"N, C, H, W"):
        model(batch[0])
    with pytest.raises(TypeError, match="uint8"):
        model(batch.to(torch.uint8))


def test_the_classifier(demo: resnest_rs.Classifier, timm_model: Any, batch: Any, photos: list[Path]) -> None:
    theirs = timm_model(batch)
    np.testing.assert_allclose(demo.logits(list(photos)), theirs, **CLOSE)
    np.testing.assert_allclose(demo.probabilities(list(photos)), theirs.softmax(-1), **CLOSE)
    np.testing.assert_allclose(
        demo.features(list(photos)),
        timm_model.forward_head(timm_model.forward_features(batch), pre_logits=True),
        **CLOSE,
    )
    for stage, maps in enumerate(timm_model.forward_intermediates(batch)[1]):
        np.testing.assert_allclose(demo.features(list(photos), stage), maps, rtol=5e-4, atol=5e-4)
    assert np.array_equal(demo.preprocess(list(photos)), batch)


def test_transforms_of_photos(photos: list[Path]) -> None:
    # Each set of options over some photos, each photo with some: from the file, from Pillow, from pixels.
    chance = random.Random(24)
    for chosen in options():
        theirs, ours = timm.data.create_transform(**chosen), resnest_rs.create_transform(**chosen)
        for photo in chance.sample(photos, 3):
            image = Image.open(photo).convert("RGB")
            expected = theirs(image).numpy()
            for form in (photo, photo.read_bytes(), image, np.asarray(image)):
                found = ours(form)
                assert found.dtype == np.float32 and found.shape == expected.shape
                assert found.tobytes() == expected.tobytes(), (chosen, photo.name, type(form))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_transforms_of_modes(mode: str, photos: list[Path]) -> None:
    ours, theirs = resnest_rs.create_transform(128), timm.data.create_transform(128)
    image = Image.open(photos[3]).convert("RGB").convert(mode)
    assert np.array_equal(ours(image), theirs(image.convert("RGB")).numpy())


def test_a_transform_of_one_channel(photos: list[Path]) -> None:
    chosen = {"input_size": (1, 96, 96), "mean": (0.5,), "std": (0.25,), "interpolation": "bicubic"}
    image = Image.open(photos[5]).convert("L")
    ours, theirs = resnest_rs.create_transform(**chosen), timm.data.create_transform(**chosen)
    assert np.array_equal(ours(image), theirs(image).numpy())


@pytest.mark.parametrize(
    "pattern", ["resnest*", "*resnext*", "resnest50d", "resnet50", ["seres*", "ecaresnet*"], "resnet50.*", "*d_*"]
)
def test_list_models(pattern: Any) -> None:
    known = set(resnest_rs.list_models())
    for pretrained in (False, True):
        theirs = [n for n in timm.list_models(pattern, pretrained=pretrained) if n.split(".")[0] in known]
        ours = resnest_rs.list_models(pattern, pretrained=pretrained)
        assert [n for n in ours if n not in PAPER] == theirs
    assert resnest_rs.list_pretrained(pattern) == resnest_rs.list_models(pattern, pretrained=True)


def test_list_models_leaves_out() -> None:
    known = set(resnest_rs.list_models())
    theirs = timm.list_models("resnet*", exclude_filters=["*d", "resnetv2*"])
    assert resnest_rs.list_models("resnet*", exclude_filters=["*d", "resnetv2*"]) == [n for n in theirs if n in known]
    assert known - PAPER <= set(timm.list_models()) and PAPER < known


@pytest.mark.parametrize("chosen", [
    {"num_classes": 0}, {"global_pool": "max"}, {"global_pool": "catavgmax", "num_classes": 0},
    {"global_pool": "", "num_classes": 0}, {"in_chans": 1}, {"output_stride": 16}, {"output_stride": 8},
])
def test_options_of_create_model(chosen: dict[str, Any], shared: Path) -> None:
    name = f"local-dir:{shared}/demo-model"
    theirs = timm.create_model(name, pretrained=True, **chosen).eval()
    ours = resnest_rs.create_model(name, **chosen)
    x = torch.randn(2, chosen.get("in_chans", 3), 64, 64, generator=torch.Generator().manual_seed(3))
    close(ours(x), theirs(x))
    assert ours.num_classes == theirs.num_classes
    assert ours.in_chans == chosen.get("in_chans", 3)


def test_a_checkpoint_of_our_own(tmp_path: Path, shared: Path) -> None:
    # A network of random weights, saved as people save them.
    theirs = timm.create_model("resnet10t", num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = resnest_rs.create_model("resnet10t", checkpoint_path=tmp_path / "weights.pth", num_classes=7)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(4))
    close(ours(x), theirs(x))
    by_classifier = resnest_rs.Classifier("resnet10t", checkpoint=tmp_path / "weights.pth", num_classes=7)
    assert by_classifier.num_classes == 7


def test_a_data_loader(shared: Path, photos: list[Path], timm_model: Any) -> None:
    """Workers of torch that prepare images with our transform, by every way to start them."""
    transform = resnest_rs.create_transform(**resnest_rs.resolve_model_data_config(timm_model))
    expected = np.stack([transform(photo) for photo in photos[:24]])
    for method in ("fork", "spawn", "forkserver"):
        loader = torch.utils.data.DataLoader(
            Photos(photos[:24], transform), batch_size=4, num_workers=2, multiprocessing_context=method, timeout=60
        )
        assert np.array_equal(torch.cat(list(loader)).numpy(), expected), method


class Photos:
    """A dataset of torch."""

    def __init__(self, paths: list[Path], transform: resnest_rs.Transform) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> Any:
        return self.transform(self.paths[at])
