"""What the family's references have in common: weights by formula, norms calibrated, stages recorded.

Weights and images come from tests/golden/formula.py. Two numbers a norm (mean and variance of what enters it) are measured
and stored, which keeps every layer's scale that of a trained network; the classifier is scaled to a logit spread of 2.
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import timm
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
import formula  # noqa: E402

FOLDER = Path(__file__).parents[1] / "family"
LOGIT_SPREAD = 2.0
TAPS = ["act1", "layer1", "layer2", "layer3", "layer4", "global_pool"]
VERSIONS = {"timm": timm.__version__, "torch": torch.__version__, "python": platform.python_version()}

# The files of timm whose models make up the family.
MODULES = ["resnet", "resnest", "sknet", "res2net", "senet"]


def architectures():
    """Every registered model of the family, whether it has weights or not."""
    return [name for module in MODULES for name in timm.list_models(module=module)]


def last_norms(model):
    """Names of the norms that end a residual branch, shortened to one ending where no other norm has it."""
    names = set()
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for i, block in enumerate(getattr(model, stage)):
            conv = "conv3" if hasattr(block, "conv3") else "conv2"
            whole = isinstance(getattr(block, conv), torch.nn.Conv2d)
            names.add((f"{stage}.{i}", f"bn{conv[-1]}" if whole else f"{conv}.bn"))
    whole = sorted(f"{block}.{norm}" for block, norm in names)
    ending = f".{whole[0].split('.', 2)[2]}"
    alike = [name for name, _ in model.named_modules() if name.endswith(ending)]
    return [ending] if sorted(alike) == whole else whole


def fill(model, norm, head_scale, last):
    """Sets every tensor that the formula knows by now."""
    for name, tensor in model.state_dict().items():
        module, _, field = name.rpartition(".")
        if field == "num_batches_tracked" or (field.startswith("running_") and module not in norm):
            continue
        tensor.copy_(torch.from_numpy(formula.weight(name, tuple(tensor.shape), norm, head_scale, last)))


def head(model):
    """The classifier and its name."""
    name = "last_linear" if hasattr(model, "last_linear") else "fc"
    return name, getattr(model, name)


def calibrate(model, x):
    """Measures every norm's input in one forward, each norm using its own figures at once."""
    norm, hooks = {}, []

    def before(name):
        def hook(module, inputs):
            (value,) = inputs
            norm[name] = (float(value.mean()), float(value.var(unbiased=False)))
            for field in ("running_mean", "running_var"):
                tensor = getattr(module, field)
                full = formula.weight(f"{name}.{field}", tuple(tensor.shape), norm, 0.0)
                tensor.copy_(torch.from_numpy(full))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before(name)))
    features = model.forward_head(model.forward_features(x), pre_logits=True)
    for hook in hooks:
        hook.remove()
    name, classifier = head(model)
    if not isinstance(classifier, torch.nn.Linear):
        return norm, 1.0
    spread = torch.from_numpy(formula.uniform(f"{name}.weight", classifier.weight.numel())).view_as(classifier.weight)
    return norm, float(np.float32(LOGIT_SPREAD / float((features @ spread.T).std())))


def stages(model, x):
    """Every tap, and the logits."""
    last, taps = model.forward_intermediates(x)
    pooled = model.forward_head(last, pre_logits=True)
    return [*taps, pooled], head(model)[1](pooled)


def sample(tensor, count):
    """`count` values spread evenly over the tensor, or all where there are fewer."""
    flat = tensor.flatten()
    count = min(count, flat.numel())
    return flat[torch.arange(count) * flat.numel() // count]


@torch.inference_mode()
def record(model, size, samples, logits):
    """What timm makes of the image: `logits` of its logits in f32 and f64, `samples` values of every stage."""
    model = model.eval()
    x = torch.from_numpy(formula.image(*size))
    last = last_norms(model)
    fill(model, {}, 1.0, last)
    norm, head_scale = calibrate(model, x)
    fill(model, norm, head_scale, last)
    taps, out = stages(model, x)
    taps64, out64 = stages(model.double(), x.double())
    tensors = {
        "logits": sample(out, logits).numpy(),
        "logits_f64": sample(out64, logits).numpy(),
        "norms": np.array([norm[name] for name in sorted(norm)], dtype=np.float32).reshape(-1, 2),
        "head_scale": np.array([head_scale], dtype=np.float32),
    }
    for tap, value, value64 in zip(TAPS, taps, taps64):
        tensors[f"{tap}.sample"] = sample(value, samples).numpy()
        tensors[f"{tap}.rms"] = value64.square().mean().sqrt().float().reshape(1).numpy()
    error, rms = (out - out64).abs().max(), [float(tensors[f"{tap}.rms"][0]) for tap in TAPS]
    print(f"  logits max {out64.abs().max():.3f} std {out64.std():.3f}, f32 against f64 {error:.2e}, rms", end=" ")
    print(" ".join(f"{value:.2f}" for value in rms), flush=True)
    metadata = {"input_size": json.dumps(size), "last_norms": json.dumps(last), **VERSIONS}
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata
