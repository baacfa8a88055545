"""Writes one network in every peer's format, once; run as `python -m harness.export MODEL BATCH CACHE --formats …`.

A process of its own, so that a converter that crashes costs its own engine and nothing else. What failed is kept as text
beside the files (`<file>.error`) and ends in the report.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

from harness import environment, models, quantise

RECIPE = 1  # raise it when what is exported changes, so that cached files are made anew


def folder(cache: Path, name: str) -> Path:
    return cache / f"{name}-r{RECIPE}"


def artifact(cache: Path, name: str, batch: int, fmt: str) -> Path:
    """Where the file of one format lies; the file may not exist yet."""
    base = folder(cache, name)
    return {
        "safetensors": base / "hub" / "model.safetensors",
        "onnx": base / f"b{batch}.onnx",
        "torchscript": base / f"b{batch}.torchscript.pt",
        "openvino": base / f"b{batch}.openvino.xml",
        "ncnn": base / "b1.ncnn.param",  # ncnn has no batch dimension: images go through one by one
        "mnn": base / f"b{batch}.mnn",
        "onnx-int8": base / f"b{batch}.int8.onnx",
        "openvino-int8": base / f"b{batch}.int8.openvino.xml",
        "resnest-int8": base / "hub-int8" / "model.safetensors",
    }[fmt]


# What a format is made from.
MADE_FROM = {"openvino": "onnx", "mnn": "onnx", "onnx-int8": "onnx", "openvino-int8": "openvino", "ncnn": "torchscript"}


def error_of(cache: Path, name: str, batch: int, fmt: str) -> str | None:
    note = note_beside(artifact(cache, name, batch, fmt))
    return note.read_text() if note.exists() else None


def note_beside(path: Path) -> Path:
    return path.with_name(path.name + ".error")


def write_weights(net, model: models.Model, base: Path) -> None:
    """`hub/` as a model repository on the hub has it, the input images, and what torch answers for them."""
    import torch
    from safetensors.torch import save_file

    hub = base / "hub"
    hub.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, hub / "model.safetensors")
    (hub / "config.json").write_text(json.dumps(hub_config(net, model), indent=1))
    batch = models.images(model, models.IMAGES, models.SEED + 3)
    batch.numpy().tofile(base / "input.f32")
    with torch.no_grad():
        logits = torch.cat([net(image[None]) for image in batch])
        exact = torch.cat([net.double()(image[None].double()) for image in batch])
    net.float()
    logits.numpy().tofile(base / "reference.f32")
    facts = {
        "classes": logits.shape[1],
        "size": model.size,
        "parameters": sum(p.numel() for p in net.parameters()),
        "max_abs_logit": float(logits.abs().max()),
        "torch_f32_against_f64": float((logits - exact).abs().max()),
        "versions": environment.versions(),
    }
    (base / "facts.json").write_text(json.dumps(facts, indent=1))


def hub_config(net, model: models.Model) -> dict:
    """timm's config.json; the demo model's own, where there is one."""
    if model.timm_name.startswith("local-dir:"):
        return json.loads((Path(model.timm_name.split(":", 1)[1]) / "config.json").read_text())
    cfg = net.pretrained_cfg
    keep = ("interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes", "pool_size", "first_conv", "classifier")
    return {
        "architecture": model.timm_name,
        "num_classes": net.num_classes,
        "num_features": net.num_features,
        "pretrained_cfg": {"input_size": [3, model.size, model.size]} | {k: cfg[k] for k in keep if k in cfg},
    }


def to_onnx(net, batch, path: Path) -> None:
    import torch

    # The exporter folds batch norms into the convolutions and leaves 10 kinds of operators, all of them standard.
    torch.onnx.export(
        net, (batch,), str(path), dynamo=True, external_data=False, input_names=["input"], output_names=["logits"]
    )


def to_torchscript(net, batch, path: Path) -> None:
    import torch

    with torch.no_grad():
        torch.jit.trace(net, batch, check_trace=False).save(str(path))


def to_openvino(onnx: Path, path: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(str(onnx)), str(path), compress_to_fp16=False)


def to_ncnn(traced: Path, shape: tuple[int, ...], path: Path) -> None:
    """Through TorchScript and pnnx: ncnn's ONNX route answers wrongly for split attention. fp16=0 keeps weights f32."""
    stem = path.with_suffix("")
    sides = ",".join(map(str, shape))
    outputs = [f"ncnnparam={path}", f"ncnnbin={stem}.bin", f"ncnnpy={stem}.py"]
    outputs += [f"pnnxparam={stem}.pnnx.param", f"pnnxbin={stem}.pnnx.bin", f"pnnxpy={stem}.pnnx.py"]
    outputs += [f"pnnxonnx={stem}.pnnx.onnx"]
    import pnnx

    run([pnnx.EXEC_PATH, str(traced), f"inputshape=[{sides}]", "fp16=0", "optlevel=2", *outputs])
    for scratch in path.parent.glob("*pnnx*"):
        scratch.unlink()


def to_mnn(onnx: Path, path: Path) -> None:
    tool = Path(sys.executable).parent / "mnnconvert"
    run([str(tool), "-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", str(path), "--bizCode", "peers"])


def to_resnest_int8(hub: Path, photos: Path, command: str, path: Path) -> None:
    """The project's own quantised checkpoint, in a folder that loads as the unquantised one does."""
    if not Path(command).is_file():
        raise RuntimeError(command)
    path.parent.mkdir(exist_ok=True)
    shutil.copy(hub / "config.json", path.parent)
    words = [command, "quantize", f"local-dir:{hub}", "--images", str(photos), "--samples", str(quantise.SAMPLES)]
    run([*words, "--out", str(path)])


def run(command: list[str]) -> None:
    """A converter's command; its output becomes the error's text when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def attempt(path: Path, make) -> None:
    """Makes `path` unless it is there; a failure is written down instead."""
    note = note_beside(path)
    if path.exists():
        return
    try:
        make()
        if not path.exists():
            raise RuntimeError(f"the converter reported success but wrote no {path.name}")
        note.unlink(missing_ok=True)
    except Exception:
        path.unlink(missing_ok=True)
        note.write_text(traceback.format_exc()[-4000:])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("batch", type=int)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--formats", nargs="+", required=True, help="keys of `artifact`")
    parser.add_argument("--calibration", type=Path, help="photos for int8; without it those of the shared folder")
    parser.add_argument("--resnest", default="the project's command was not built", help="it, or why there is none")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    name, batch_size, cache = args.model, args.batch, args.cache
    model = models.all_models(environment.ROOT)[name]
    base = folder(cache, name)
    at = lambda fmt, b=batch_size: artifact(cache, name, b, fmt)  # noqa: E731
    if all(at(fmt).exists() for fmt in args.formats) and (base / "facts.json").exists():
        return
    wanted = set(args.formats) | {MADE_FROM[fmt] for fmt in args.formats if fmt in MADE_FROM}
    wanted |= {MADE_FROM[fmt] for fmt in wanted if fmt in MADE_FROM}
    if not (base / "facts.json").exists():
        write_weights(models.build(model), model, base)
    net = models.load(base / "hub")
    batch = models.images(model, models.IMAGES, models.SEED + 3)[:batch_size]
    photos = quantise.calibration_folder(model, args.calibration)
    data = lambda: quantise.batches(base / "hub", photos, batch_size)  # noqa: E731
    makers = {
        "onnx": lambda path: to_onnx(net, batch, path),
        "torchscript": lambda path: to_torchscript(net, batch, path),
        "openvino": lambda path: to_openvino(at("onnx"), path),
        "mnn": lambda path: to_mnn(at("onnx"), path),
        "ncnn": lambda path: to_ncnn(at("torchscript", 1), (1, 3, model.size, model.size), path),
        "onnx-int8": lambda path: quantise.to_onnx_int8(at("onnx"), data(), path),
        "openvino-int8": lambda path: quantise.to_openvino_int8(at("openvino"), data(), path),
        "resnest-int8": lambda path: to_resnest_int8(base / "hub", photos, args.resnest, path),
    }
    if "ncnn" in wanted:
        attempt(at("torchscript", 1), lambda: to_torchscript(net, batch[:1], at("torchscript", 1)))
    for fmt, make in makers.items():
        if fmt in wanted:
            attempt(at(fmt), lambda make=make, fmt=fmt: make(at(fmt)))


if __name__ == "__main__":
    main()
