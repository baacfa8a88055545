"""References of the whole family from timm: logits in f32 and f64, and samples of every stage.

    python tests/family/make_family.py native [NAME ...]
    python tests/family/make_family.py small [NAME ...]

`native`: one network for each row of the family's table and for each quirk, at the input size of its weights, one file
each in tests/family/native. `small`: all the others at 64x64, in tests/family/small.safetensors.
"""

import json
import sys

import timm
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import reference

NATIVE = [
    "resnet18",  # BasicBlock, 7x7 stem
    "resnet50",  # Bottleneck
    "resnet50c",  # deep stem, strided shortcuts
    "resnet50d",  # deep stem, pooled shortcuts
    "resnet26t",  # tiered stem
    "wide_resnet50_2",  # base_width 128
    "resnext50_32x4d",  # 4 channels a group
    "seresnet50",
    "seresnext50_32x4d",
    "senet154",  # block_reduce_first 2, down_kernel_size 3
    "ecaresnet50t",
    "ecaresnetlight",
    "ecaresnet50d_pruned",
    "resnetrs50",  # replace_stem_pool, SE of a quarter
    "resnetaa50d",  # average-pool anti-aliasing
    "resnetblur50",  # blur with reflected borders
    "resnet50_gn",
    "test_resnet",  # mixed blocks
    "skresnet18",  # split_input
    "skresnext50_32x4d",
    "res2net50_26w_4s",
    "res2net50_48w_2s",
    "res2next50",
    "legacy_seresnet18",  # ReLU before SE
    "legacy_seresnet50",  # stride in the first 1x1
    "legacy_seresnext26_32x4d",
]
SMALL_SIDE = 64


def make(name, size, samples, logits):
    print(name, flush=True)
    model = timm.create_model(name, pretrained=False)
    size = [model.pretrained_cfg["input_size"][0], *(size or model.pretrained_cfg["input_size"][1:])]
    return reference.record(model, size, samples, logits)


def native(names):
    folder = reference.FOLDER / "native"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NATIVE:
        tensors, metadata = make(name, None, 256, 1000)
        save_file(tensors, folder / f"{name}.safetensors", metadata)


def small(names):
    path = reference.FOLDER / "small.safetensors"
    tensors, metadata = {}, {}
    if names and path.exists():
        with safe_open(path, "numpy") as old:
            tensors, metadata = {key: old.get_tensor(key) for key in old.keys()}, old.metadata()
    others = [name for name in reference.architectures() if name not in NATIVE]
    for name in names or others:
        made, about = make(name, (SMALL_SIDE, SMALL_SIDE), 64, 128)
        tensors |= {f"{name}/{key}": value for key, value in made.items()}
        metadata[name] = json.dumps(about)
        save_file(tensors, path, metadata)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"native": native, "small": small}[sys.argv[1]](sys.argv[2:])
