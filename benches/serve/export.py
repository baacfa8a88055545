"""Writes the one network that all servers answer with; run as `python export.py FOLDER PHOTOS [RESNEST]`.

resnest50d with random weights that behave like trained ones (those of `benches/peers`), for us as timm's
`push_to_hub` writes a repository, and as ONNX for everybody else. Then one photo goes through torch, ONNX Runtime,
OpenVINO and, if its command is given, this project: whoever does not answer with the same logits is not worth
measuring.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "peers"), str(HERE / "peers")]

import numpy as np  # noqa: E402
import photo  # noqa: E402
from harness import export as written, models  # noqa: E402

NAME = "resnest50d"
TOLERANCE = 1e-3  # of the largest logit; f32 throughout, so what remains is rounding


def write(folder: Path) -> None:
    """`hub/` (config.json, model.safetensors) and `model.onnx`, whose first dimension is free."""
    import torch
    from safetensors.torch import save_file

    model = models.all_models(HERE.parent.parent)[NAME]
    net = models.build(model)
    hub = folder / "hub"
    hub.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, hub / "model.safetensors")
    (hub / "config.json").write_text(json.dumps(written.hub_config(net, model), indent=1))
    batch = models.images(model, 2, models.SEED + 3)
    torch.onnx.export(
        net,
        (batch,),
        str(folder / "model.onnx"),
        dynamo=True,
        external_data=False,
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1, max=64)}},
    )


def answers(folder: Path, image: Path, resnest: str | None) -> dict[str, np.ndarray]:
    """Each engine's logits of one photo."""
    import onnxruntime
    import openvino
    import timm
    import torch
    from timm.data import create_transform, resolve_model_data_config
    from PIL import Image

    net = timm.create_model(f"local-dir:{folder / 'hub'}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(net), is_training=False)
    with torch.no_grad():
        theirs = net(transform(Image.open(image).convert("RGB"))[None]).numpy()[0]
    data = photo.tensor(image.read_bytes())[None]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    compiled = openvino.compile_model(str(folder / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = {
        "torch": theirs,
        "ONNX Runtime": session.run(None, {"input": data})[0][0],
        "OpenVINO": compiled([data])[0][0],
    }
    if resnest:
        command = [resnest, "classify", "--model", f"local-dir:{folder / 'hub'}", "--topk", "1000", "--format", "json"]
        done = subprocess.run([*command, str(image)], capture_output=True, text=True, check=True)
        found["resnest"] = ours(json.loads(done.stdout))
    return found


def ours(report) -> np.ndarray:
    """Logits up to a constant, from the probabilities of all classes."""
    image = report[0] if isinstance(report, list) else report
    logits = np.zeros(1000, np.float64)
    for row in image["predictions"]:
        logits[row["index"]] = np.log(row["probability"])
    return logits


def compare(found: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest difference from torch's logits over the largest of them, both with their mean taken away."""
    centred = {name: values - values.mean() for name, values in found.items()}
    reference = centred.pop("torch")
    return {n: float(np.abs(v - reference).max() / np.abs(reference).max()) for n, v in centred.items()}


def main() -> None:
    folder, photos = Path(sys.argv[1]), Path(sys.argv[2])
    resnest = sys.argv[3] if len(sys.argv) > 3 else None
    if not (folder / "model.onnx").exists():
        write(folder)
    image = sorted(photos.iterdir())[0]
    found = answers(folder, image, resnest)
    distances = compare(found)
    best = {name: int(values.argmax()) for name, values in found.items()}
    report = {"photo": image.name, "best": best, "distance_from_torch": distances}
    (folder / "agreement.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report))
    if len(set(best.values())) > 1 or max(distances.values()) > TOLERANCE:
        sys.exit("the engines do not agree on the photo: nothing measured with them would mean anything")


if __name__ == "__main__":
    main()
