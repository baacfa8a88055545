"""The references in this folder: of networks as they are, and of networks that are wrong in one known way.

    python tests/verify/make_goldens.py

Weights of the full-size networks come from golden/formula.py, as `make_full.py` has them, so that no reference holds
any; `verify.rs` computes the same. Small inputs and at most SAMPLES values a stage keep the files small.
"""

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors import safe_open

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "golden"))

import formula  # noqa: E402
import make_reference  # noqa: E402
from make_full import fill  # noqa: E402

SAMPLES = 1024
SIDE = 64
PHOTOS = [HERE.parent.parent / "crates/resnest/demo/photos/horse.png", HERE.parent / "image/files/jpeg_420_prog_61x47.jpg"]


def network(name):
    """`name` with the weights of its golden."""
    with safe_open(HERE.parent / "golden/full" / f"{name}.safetensors", "np") as golden:
        names = json.loads(golden.metadata()["norm_names"])
        norms = dict(zip(names, golden.get_tensor("norms").tolist()))
        head_scale = float(golden.get_tensor("head_scale")[0])
    model = timm.create_model(name, pretrained=False).eval()
    with torch.inference_mode():
        fill(model, norms, head_scale)
    return model


def perturb_weight(model):
    """One weight of layer3 differs by 1e-2; one whose input is not always zero behind its ReLU, as [0, 0]'s is here."""
    model.layer3[0].conv2.conv.weight[1, 1, 1, 1] += 1e-2


def swap_statistics(model):
    """A norm of layer2 has its mean for its variance."""
    norms = [m for m in model.layer2.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    norm = next(n for n in norms if n.running_mean.min() > 0)  # a variance must not be negative
    mean = norm.running_mean.clone()
    norm.running_mean.copy_(norm.running_var)
    norm.running_var.copy_(mean)


def exchange_radix_and_cardinality(model):
    """Every attention takes its logits for [r, k, c] instead of [k, r, c]: the sizes fit, the splits do not."""
    for module in model.modules():
        if type(module).__name__ == "RadixSoftmax":
            module.radix, module.cardinality = module.cardinality, module.radix


def main():
    torch.set_num_threads(1)
    size = dict(overrides={"input_size": [3, SIDE, SIDE]}, stage_samples=SAMPLES)
    demo = make_reference.load("demo", None)
    make_reference.record(demo, "demo", HERE / "demo.safetensors", PHOTOS, stage_samples=SAMPLES)
    make_reference.record(demo, "demo", HERE / "demo_random.safetensors", random=3, seed=7, stage_samples=SAMPLES)
    for name in ("resnest14d", "resnest50d_4s2x40d"):
        make_reference.record(network(name), name, HERE / f"{name}.safetensors", PHOTOS, **size)
    wrong = {
        "perturbed_weight": ("resnest14d", perturb_weight),
        "swapped_statistics": ("resnest14d", swap_statistics),
        "exchanged_radix": ("resnest50d_4s2x40d", exchange_radix_and_cardinality),
    }
    for out, (name, spoil) in wrong.items():
        model = network(name)
        with torch.inference_mode():
            spoil(model)
        make_reference.record(model, name, HERE / f"{out}.safetensors", random=1, **size)


if __name__ == "__main__":
    main()
