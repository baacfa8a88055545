#!/usr/bin/env python3
"""How many photos the peers' low precisions answer rightly: the demo model over CIFAR-10's test photos.

    python3 benches/accuracy/run.py [--engines NAME ...] [--out FILE.json]

Preprocessing is timm's own; quantisation is calibrated on the training photos of the shared folder (RESNEST_SHARED, else
../shared). Runs in the environment of benches/peers, which it makes if absent. Prints a Markdown table and writes the same
as JSON. What this project does on the same photos: `resnest validate --precision fast,bf16,int8` (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peers"))

from harness import environment, export, models, quantise  # noqa: E402

SHARED = Path(os.environ.get("RESNEST_SHARED", environment.ROOT.parent / "shared"))
BATCH = 250  # photos at once for torch; the others take one


class Work:
    """The network under test and where its exports lie."""

    def __init__(self, args: argparse.Namespace, scratch: Path):
        self.args, self.scratch = args, scratch
        self.model = models.Model("accuracy", f"local-dir:{args.model}", 0)
        self.net = models.load(args.model)

    def file(self, name: str, make) -> Path:
        """An export, made when it is first asked for."""
        path = self.scratch / name
        if not path.exists():
            make(path)
        return path

    def onnx(self) -> Path:
        sides = json.loads((self.args.model / "config.json").read_text())["pretrained_cfg"]["input_size"]
        import torch

        return self.file("net.onnx", lambda path: export.to_onnx(self.net, torch.zeros(1, *sides), path))

    def openvino(self) -> Path:
        return self.file("net.xml", lambda path: export.to_openvino(self.onnx(), path))

    def calibration(self) -> list:
        return quantise.batches(self.args.model, self.args.calibration, 1, self.args.samples)

    def nncf(self, preset: str | None) -> Path:
        make = lambda path: quantise.to_openvino_int8(self.openvino(), self.calibration(), path, preset)  # noqa: E731
        return self.file(f"nncf-{preset or 'default'}.xml", make)

    def qdq(self) -> Path:
        return self.file("qdq.onnx", lambda path: quantise.to_onnx_int8(self.onnx(), self.calibration(), path))


def torch_logits(work: Work, images, low: bool):
    """In f32, or under autocast in bf16."""
    import numpy
    import torch

    found = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        for at in range(0, len(images), BATCH):
            found.append(work.net(torch.from_numpy(images[at : at + BATCH])).float().numpy())
    return numpy.concatenate(found)


def openvino_logits(network: Path, images, precision: str | None):
    """One photo at a time, in `precision` or as the plugin chooses."""
    import numpy
    import openvino

    config = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_PRECISION_HINT": precision} if precision else {})
    request = openvino.Core().compile_model(str(network), "CPU", config).create_infer_request()
    return numpy.concatenate([request.infer([image[None]])[0].copy() for image in images])


def onnxruntime_logits(network: Path, images):
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    return numpy.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


ENGINES = {
    "torch, f32": lambda work, images: torch_logits(work, images, False),
    "torch, autocast bf16": lambda work, images: torch_logits(work, images, True),
    "OpenVINO, f32": lambda work, images: openvino_logits(work.openvino(), images, "f32"),
    "OpenVINO, default": lambda work, images: openvino_logits(work.openvino(), images, None),
    "OpenVINO, NNCF int8": lambda work, images: openvino_logits(work.nncf(None), images, None),
    "OpenVINO, NNCF int8, rest f32": lambda work, images: openvino_logits(work.nncf(None), images, "f32"),
    "OpenVINO, NNCF int8 (mixed)": lambda work, images: openvino_logits(work.nncf("mixed"), images, None),
    "OpenVINO, NNCF int8 (mixed), rest f32": lambda work, images: openvino_logits(work.nncf("mixed"), images, "f32"),
    "ONNX Runtime, int8 QDQ": lambda work, images: onnxruntime_logits(work.qdq(), images),
}
REFERENCE = "torch, f32"


def test_set(args: argparse.Namespace):
    """All photos as timm's evaluation makes them, (count, 3, H, W), and the index of each one's class."""
    import numpy

    classes = json.loads((args.model / "config.json").read_text())["label_names"]
    paths = quantise.photos(args.images, args.limit or sys.maxsize)
    images = numpy.concatenate(quantise.transformed(args.model, paths))
    return images, numpy.array([classes.index(path.parent.name) for path in paths])


def judge(logits, reference, labels) -> dict:
    """Right answers, answers as the reference's, and how far the logits are from it (root of mean squares)."""
    import numpy

    answers = logits.argmax(1)
    away = numpy.sqrt(numpy.square(logits - reference).sum() / numpy.square(reference).sum())
    return {
        "right": int((answers == labels).sum()),
        "photos": len(labels),
        "as_f32": int((answers == reference.argmax(1)).sum()),
        "relative_rms": float(away),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHARED / "demo-model", help="a local-dir: model of timm with label_names")
    parser.add_argument("--images", type=Path, default=SHARED / "data" / "cifar10-test", help="CLASS/PHOTO")
    parser.add_argument("--calibration", type=Path, default=SHARED / "data" / "cifar10-train-300")
    parser.add_argument("--samples", type=int, default=quantise.SAMPLES, help="photos to calibrate on")
    parser.add_argument("--limit", type=int, help="evenly spaced photos instead of all")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), metavar="NAME")
    parser.add_argument("--venv", type=Path, default=environment.ROOT / "target" / "peers" / "venv")
    parser.add_argument("--out", type=Path, default=environment.ROOT / "target" / "accuracy.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    environment.enter(args.venv)
    images, labels = test_set(args)
    results = {"machine": environment.machine(), "versions": environment.versions(), "engines": {}}
    print("| engine | right | of | as torch's f32 | logits' relative rms distance |\n|---|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = Work(args, Path(scratch))
        reference = ENGINES[REFERENCE](work, images)
        for name in args.engines:
            with contextlib.redirect_stdout(sys.stderr):  # exporters and quantisers talk
                logits = reference if name == REFERENCE else ENGINES[name](work, images)
            found = results["engines"][name] = judge(logits, reference, labels)
            print(f"| {name} | {found['right']} | {found['photos']} | {found['as_f32']} | {found['relative_rms']:.1e} |", flush=True)
    args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
