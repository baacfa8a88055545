"""Which networks are compared, and the weights they are compared with.

Every engine gets the same conditioned random weights. timm's own initialisation sets `bn3.weight` to 0, so that no
residual branch contributes anything: neither its speed (denormals, zeros) nor its logits would mean much.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SEED = 20261124
IMAGES = 8  # how many input images are stored; the largest batch that can be measured


@dataclass(frozen=True)
class Model:
    """One network: its name in tables, timm's name for it, and the side of its native square input."""

    name: str
    timm_name: str
    size: int


NATIVE_SIZES = {
    "resnest14d": 224,
    "resnest26d": 224,
    "resnest50d": 224,
    "resnest50d_1s4x24d": 224,
    "resnest50d_4s2x40d": 224,
    "resnest101e": 256,
    "resnest200e": 320,
    "resnest269e": 416,
}

# The rest of the family that people choose among; resnetrs50's own size is 160.
FAMILY = (
    "resnet50",
    "resnet50d",
    "resnext50_32x4d",
    "seresnet50",
    "seresnext50_32x4d",
    "skresnet50",
    "resnetrs50",
    "res2net50_26w_4s",
)
FAMILY_SIZE = 224


def all_models(root: Path) -> dict[str, Model]:
    """The eight ResNeSts at native size, their relatives at one size, and the bundled demo model."""
    sizes = NATIVE_SIZES | dict.fromkeys(FAMILY, FAMILY_SIZE)
    models = {name: Model(name, name, size) for name, size in sizes.items()}
    demo = root / "crates" / "resnest" / "demo"
    size = json.loads((demo / "config.json").read_text())["pretrained_cfg"]["input_size"][-1]
    models["demo"] = Model("demo", f"local-dir:{demo}", size)
    return models


def build(model: Model):
    """The timm network in eval mode, with trained (demo) or conditioned random weights."""
    import timm
    import torch

    if model.timm_name.startswith("local-dir:"):
        return timm.create_model(model.timm_name, pretrained=True).eval()
    torch.manual_seed(SEED)
    net = timm.create_model(model.timm_name, pretrained=False)
    condition(net, images(model, IMAGES, SEED + 1))
    return net.eval()


def load(hub: Path):
    """The network that an export wrote into `hub`, in eval mode."""
    import timm

    return timm.create_model(f"local-dir:{hub}", pretrained=True).eval()


def images(model: Model, count: int, seed: int):
    """(count, 3, size, size) f32: smooth blobs plus grain, each image with its own contrast and tint, so that the
    global means inside split attention differ from image to image as they do for photos."""
    import torch
    from torch.nn.functional import interpolate

    rng = torch.Generator().manual_seed(seed)
    blobs = torch.randn(count, 3, 6, 6, generator=rng)
    smooth = interpolate(blobs, size=(model.size, model.size), mode="bicubic", align_corners=False)
    grain = torch.randn(count, 3, model.size, model.size, generator=rng)
    contrast = torch.empty(count, 1, 1, 1).uniform_(0.5, 1.5, generator=rng)
    tint = 0.5 * torch.randn(count, 3, 1, 1, generator=rng)
    return (smooth + 0.3 * grain) * contrast + tint


def condition(net, batch) -> None:
    """Gives `net` weights that behave like a trained network's: norms near one, the last norm of a block small, running
    statistics from a real forward, logits that spread over a few units."""
    import torch

    rng = torch.Generator().manual_seed(SEED + 2)
    norms = {n: m for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    with torch.no_grad():
        for name, norm in norms.items():
            last = name.endswith((".bn3", ".conv3.bn"))
            low, high = (0.1, 0.3) if last else (0.8, 1.2)
            norm.weight.uniform_(low, high, generator=rng)
            norm.bias.copy_(0.1 * torch.randn(norm.bias.shape, generator=rng))
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean: one forward sets the statistics outright
        net.train()(batch)
        for name, norm in norms.items():
            norm.momentum = 0.1
            # The norm inside split attention saw only `len(batch)` values a channel: keep a chance variance near zero
            # from turning into a gain of hundreds.
            norm.running_var.clamp_(min=1e-2 * float(norm.running_var.mean()))
        logits = net.eval()(batch)
        net.fc.weight.mul_(1.5 / float(logits.std()))
