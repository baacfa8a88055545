"""References of the eight full-size ResNeSts from timm: logits in f32 and f64, and samples of every stage.

    python tests/golden/make_full.py [NAME ...]

Weights and image come from formula.py. Two numbers a norm (mean and variance of what enters it) are measured here and
stored, which keeps every layer's scale that of a trained network; the classifier is scaled to a logit spread of 2.
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.numpy import save_file

import formula

sys.path.insert(0, str(Path(__file__).parents[1] / "family"))
from reference import TAPS, calibrate  # noqa: E402

SIZES = {
    "resnest14d": 224,
    "resnest26d": 224,
    "resnest50d": 224,
    "resnest50d_1s4x24d": 224,
    "resnest50d_4s2x40d": 224,
    "resnest101e": 256,
    "resnest200e": 320,
    "resnest269e": 416,
}
SAMPLES = 256


def fill(model, norm, head_scale):
    """Sets every tensor that the formula knows by now."""
    for name, tensor in model.state_dict().items():
        module, _, field = name.rpartition(".")
        if field == "num_batches_tracked" or (field.startswith("running_") and module not in norm):
            continue
        tensor.copy_(torch.from_numpy(formula.weight(name, tuple(tensor.shape), norm, head_scale)))


def stages(model, x):
    """Every tap, and the logits."""
    last, taps = model.forward_intermediates(x)
    pooled = model.forward_head(last, pre_logits=True)
    return [*taps, pooled], model.fc(pooled)


def sample(tensor):
    """SAMPLES values spread evenly over the tensor."""
    flat = tensor.flatten()
    return flat[torch.arange(SAMPLES) * flat.numel() // SAMPLES]


@torch.inference_mode()
def make(name, side, folder):
    model = timm.create_model(name, pretrained=False).eval()
    x = torch.from_numpy(formula.image(3, side, side))
    fill(model, {}, 1.0)
    norm, head_scale = calibrate(model, x)
    fill(model, norm, head_scale)

    taps, logits = stages(model, x)
    taps64, logits64 = stages(model.double(), x.double())
    tensors = {
        "logits": logits.numpy()[0],
        "logits_f64": logits64.numpy()[0],
        "norms": np.array(list(norm.values()), dtype=np.float32),
        "head_scale": np.array([head_scale], dtype=np.float32),
    }
    report = [f"{name}: logits max {logits64.abs().max():.3f} std {logits64.std():.3f}"]
    report.append(f"f32 against f64 {(logits - logits64).abs().max():.2e}")
    for tap, value, value64 in zip(TAPS, taps, taps64):
        tensors[f"{tap}.sample"] = sample(value).numpy()
        tensors[f"{tap}.rms"] = value64.square().mean().sqrt().float().reshape(1).numpy()
        alive = (value64.amax((0, 2, 3)) if value64.ndim == 4 else value64[0]) > 0
        report.append(f"{tap} rms {value64.square().mean().sqrt():.3f} alive {alive.double().mean():.2f}")
    print(", ".join(report), flush=True)
    metadata = {
        "model": name,
        "input_size": json.dumps([3, side, side]),
        "norm_names": json.dumps(list(norm)),
        "timm": timm.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    torch.set_num_threads(2)
    folder = Path(__file__).parent / "full"
    folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SIZES:
        make(name, SIZES[name], folder)
