"""Forty random timm ResNets of small widths: options, state dict, and what they make of an image.

    python tests/family/make_options.py

Options are drawn from a fixed seed; combinations that timm itself refuses are drawn again. Weights come from the formula, so
that tests/family/options.safetensors holds none.
"""

import json
import random

import numpy as np
import torch
from safetensors.numpy import save_file
from timm.models.res2net import Bottle2neck
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.sknet import SelectiveKernelBasic, SelectiveKernelBottleneck

import reference

BLOCKS = {
    "BasicBlock": BasicBlock,
    "Bottleneck": Bottleneck,
    "SelectiveKernelBasic": SelectiveKernelBasic,
    "SelectiveKernelBottleneck": SelectiveKernelBottleneck,
    "Bottle2neck": Bottle2neck,
}
COUNT = 40


def draw(rng):
    """Options as JSON holds them; `block` is a name, or four."""
    block = rng.choice(["BasicBlock"] * 2 + ["Bottleneck"] * 4 + list(BLOCKS)[2:] + ["mixed"])
    grouped = block in ("Bottleneck", "SelectiveKernelBottleneck", "Bottle2neck")
    norm = rng.choice(["batchnorm2d"] * 5 + ["groupnorm"])
    unit = 32 if norm == "groupnorm" else 8
    channels = [unit * rng.randint(1, 3) for _ in range(4)]
    cardinality, base_width = rng.choice([(1, 64), (1, 64), (2, 32), (4, 16), (1, 128), (2, 64)]) if grouped else (1, 64)
    options = dict(
        block=block if block != "mixed" else [rng.choice(["BasicBlock", "Bottleneck"]) for _ in range(4)],
        layers=[rng.randint(1, 2) for _ in range(4)],
        channels=channels,
        num_classes=rng.choice([10, 10, 7, 0]),
        in_chans=rng.choice([3, 3, 3, 1, 4]),
        output_stride=rng.choice([32, 32, 16, 8]),
        global_pool=rng.choice(["avg", "avg", "max", "avgmax", "catavgmax"]),
        cardinality=cardinality,
        base_width=base_width,
        stem_width=rng.choice([32, 64]) if norm == "groupnorm" else rng.choice([4, 8, 32]),
        stem_type=rng.choice(["", "deep"] if norm == "groupnorm" else ["", "deep", "deep_tiered"]),
        replace_stem_pool=rng.random() < 0.3,
        block_reduce_first=1 if norm == "groupnorm" else rng.choice([1, 1, 2]),
        down_kernel_size=rng.choice([1, 1, 3]),
        avg_down=rng.random() < 0.5,
        norm_layer=norm,
        aa_layer=rng.choice(["", "", "avgpool", "blurpool"]),
    )
    if block in ("BasicBlock", "Bottleneck", "mixed"):
        options["block_args"] = dict(attn_layer=rng.choice([None, None, "se", "eca"]))
    elif block == "Bottle2neck":
        options["block_args"] = dict(scale=rng.choice([1, 2, 4, 5]))
    else:
        sk = dict(rd_ratio=rng.choice([1 / 16, 1 / 8]), rd_divisor=rng.choice([8, 16]), split_input=rng.random() < 0.5)
        options["block_args"] = dict(sk_kwargs=sk)
    return options


def build(options):
    from timm.layers.blur_pool import _normalize_aa_layer

    options = dict(options)
    block = options.pop("block")
    block = BLOCKS[block] if isinstance(block, str) else [BLOCKS[name] for name in block]
    aa_layer = options.pop("aa_layer")
    return ResNet(block, **options, aa_layer=_normalize_aa_layer(aa_layer) if aa_layer else None)


def valid(rng):
    while True:
        options = draw(rng)
        try:
            model = build(options).eval()
            x = torch.zeros(1, options["in_chans"], 70, 67)
            with torch.inference_mode():
                model(x)
        except (AssertionError, RuntimeError, ValueError):
            continue
        return options, model


if __name__ == "__main__":
    torch.set_num_threads(1)
    rng = random.Random(5)
    tensors, metadata = {}, {}
    for index in range(COUNT):
        torch.manual_seed(index)
        options, model = valid(rng)
        size = [options["in_chans"], rng.randint(60, 97), rng.randint(60, 97)]
        print(index, options, size, flush=True)
        shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
        made, about = reference.record(model, size, 64, 64)
        tensors |= {f"{index}/{key}": np.ascontiguousarray(value) for key, value in made.items()}
        metadata[str(index)] = json.dumps(dict(options=options, shapes=shapes, **about))
    save_file(tensors, reference.FOLDER / "options.safetensors", metadata)
