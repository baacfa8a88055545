"""The peers' own post-training int8 of an export: NNCF for OpenVINO, static QDQ for ONNX Runtime.

Each with its defaults as its documentation has them for a convolutional network, calibrated on the same photos, which pass
through timm's own evaluation transform of the network. What `resnest quantize` makes is calibrated on the same folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness import environment, models

SAMPLES = 300  # NNCF's default number of samples, and ours
ENDINGS = (".jpg", ".jpeg", ".png")


def calibration_folder(model: models.Model, given: Path | None) -> Path:
    """The folder that `--calibration` names; else the demo model's training photos, or ImageNet photos for all others."""
    if given:
        return given
    shared = Path(os.environ.get("RESNEST_SHARED", environment.ROOT.parent / "shared"))
    return shared / "data" / ("cifar10-train-300" if model.name == "demo" else "photos")


def photos(folder: Path, count: int) -> list[Path]:
    """At most `count` photos of a folder and the folders in it: sorted, then evenly spaced."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not found:
        raise FileNotFoundError(f"{folder} holds no photos ({', '.join(ENDINGS)}): name a folder with --calibration")
    count = min(count, len(found))
    return [found[at * len(found) // count] for at in range(count)]


def transformed(hub: Path, paths: list[Path]) -> list:
    """The photos as timm's evaluation of the network in `hub` makes them, each (1, 3, height, width)."""
    import timm
    from PIL import Image

    config = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{hub}", pretrained=True))
    transform = timm.data.create_transform(**config)
    return [transform(Image.open(path).convert("RGB"))[None].numpy() for path in paths]


def batches(hub: Path, folder: Path, batch: int, count: int = SAMPLES) -> list:
    """At most `count` photos as arrays (batch, 3, height, width); those that fill no whole batch are left out."""
    import numpy

    images = transformed(hub, photos(folder, count))
    whole = len(images) // batch * batch
    if not whole:
        raise ValueError(f"{folder} holds {len(images)} photos, fewer than a batch of {batch}")
    return [numpy.concatenate(images[at : at + batch]) for at in range(0, whole, batch)]


def to_openvino_int8(network: Path, data: list, path: Path, preset: str | None = None) -> None:
    """NNCF's post-training quantisation with its defaults, fast bias correction among them: unless the preset is `mixed`,
    activations that can be negative are symmetric too."""
    import nncf
    import openvino

    found = nncf.quantize(
        openvino.Core().read_model(str(network)),
        nncf.Dataset(data),
        preset=nncf.QuantizationPreset(preset) if preset else None,
        subset_size=len(data),
    )
    openvino.save_model(found, str(path), compress_to_fp16=False)


class Reader:
    """Calibration data as ONNX Runtime asks for it."""

    def __init__(self, name: str, data: list):
        self.left = iter([{name: batch} for batch in data])

    def get_next(self) -> dict | None:
        return next(self.left, None)


def to_onnx_int8(network: Path, data: list, path: Path) -> None:
    """ONNX Runtime's static quantisation as its documentation has it for CPUs with VNNI: the graph prepared, then QDQ with u8
    activations and i8 weights a channel, ranges from the smallest and largest value seen."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_name(path.name + ".prepared")
    try:
        quant_pre_process(str(network), str(prepared))
        quantize_static(
            str(prepared),
            str(path),
            Reader("input", data),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        prepared.unlink(missing_ok=True)
