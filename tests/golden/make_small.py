"""References of small ResNeSts that between them use every option, with all weights and every stage's activations.

    python tests/golden/make_small.py

Weights are random, the norms calibrated by a forward in training mode; a freshly initialised timm model has the last
norm of every block at zero and would prove almost nothing. Weights and input are rounded to f16 before the reference
is computed and stored as f16, which halves the files and costs nothing.
"""

import json
import platform
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from timm.layers.test_time_pool import TestTimePoolHead
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet

TAPS = ["act1", "layer1", "layer2", "layer3", "layer4"]

# Cases that differ from "plain" in the head alone keep the last stage only.
HEAD_ONLY = ("pool_", "no_classes_", "test_time_")

# What every case below changes: a 'd' network with tiny channels.
BASE = dict(
    layers=[1, 2, 1, 1],
    channels=[8, 8, 16, 16],
    cardinality=1,
    base_width=64,
    stem_type="deep",
    stem_width=4,
    avg_down=True,
    num_classes=10,
    in_chans=3,
    global_pool="avg",
    output_stride=32,
)
ARGS = dict(radix=2, avd=True, avd_first=False)

# name: (network options, block options, input (batch, height, width), test-time pool)
CASES = {
    "plain": ({}, {}, (2, 48, 40), None),
    "odd_sizes": ({}, {}, (1, 51, 37), None),
    "radix0": ({}, dict(radix=0), (1, 37, 48), None),
    "radix0_avd_first_groups": (dict(cardinality=4), dict(radix=0, avd_first=True), (1, 43, 37), None),
    "radix1_cardinality4": (dict(cardinality=4, base_width=24), dict(radix=1, avd_first=True), (1, 48, 35), None),
    "radix4_cardinality2": (dict(cardinality=2), dict(radix=4, avd_first=True), (2, 33, 40), None),
    "radix4_cardinality1": ({}, dict(radix=4), (1, 40, 32), None),
    "radix2_cardinality4": (dict(cardinality=4, channels=[8, 8, 16, 8]), {}, (1, 33, 41), None),
    "no_avd": ({}, dict(avd=False), (1, 45, 48), None),
    "conv_down": (dict(avg_down=False), {}, (1, 43, 51), None),
    "conv_down_dilated": (dict(avg_down=False, output_stride=8), dict(avd=False), (1, 41, 32), None),
    "stem_7x7": (dict(stem_type="", stem_width=64, in_chans=1), {}, (1, 33, 26), None),
    "stem_tiered": (dict(stem_type="deep_tiered", stem_width=6), {}, (1, 48, 43), None),
    "in_chans_4": (dict(in_chans=4), {}, (1, 40, 40), None),
    "in_chans_8": (dict(in_chans=8), {}, (1, 32, 40), None),
    "output_stride_16": (dict(output_stride=16, layers=[1, 1, 2, 2]), {}, (1, 45, 51), None),
    "output_stride_8": (dict(output_stride=8, layers=[1, 1, 2, 2]), dict(avd_first=True), (1, 41, 48), None),
    "output_stride_8_same_width": (dict(output_stride=8, channels=[8] * 4, layers=[1, 1, 2, 1]), {}, (2, 40, 33), None),
    "deeper": (dict(layers=[2, 3, 3, 2], channels=[8, 8, 8, 16]), {}, (1, 48, 48), None),
    "no_downsample_in_layer1": (dict(stem_width=16), {}, (1, 32, 32), None),
    "pool_max": (dict(global_pool="max"), {}, (2, 36, 34), None),
    "pool_avgmax": (dict(global_pool="avgmax"), {}, (1, 70, 34), None),
    "pool_catavgmax": (dict(global_pool="catavgmax"), {}, (2, 36, 34), None),
    "pool_fast": (dict(global_pool="fast"), {}, (1, 34, 36), None),
    "pool_fastmax": (dict(global_pool="fastmax"), {}, (1, 34, 36), None),
    "pool_fastavgmax": (dict(global_pool="fastavgmax"), {}, (1, 34, 36), None),
    "pool_fastcatavgmax": (dict(global_pool="fastcatavgmax"), {}, (1, 34, 36), None),
    "no_classes": (dict(num_classes=0), {}, (2, 36, 34), None),
    "no_classes_no_pool": (dict(num_classes=0, global_pool=""), {}, (1, 34, 36), None),
    "no_classes_catavgmax": (dict(num_classes=0, global_pool="catavgmax"), {}, (1, 34, 36), None),
    "test_time_pool": ({}, {}, (2, 97, 66), (2, 1)),
    "test_time_pool_dilated": (dict(output_stride=16), {}, (1, 50, 66), (3, 2)),
    "tiny_input": ({}, {}, (1, 5, 3), None),
}


def randomise(model, x):
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            last = 0.2 if name.endswith("bn3") else 1.0
            module.weight.copy_(last * (1 + 0.2 * torch.randn_like(module.weight)))
            module.bias.copy_(0.2 * torch.randn_like(module.bias))
            module.momentum = 1.0
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                module.bias.copy_(0.2 * torch.randn_like(module.bias))
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=2 / module.in_features**0.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    model.train()(x)
    model.eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())


@torch.inference_mode()
def make(name, seed, options, block_args, size, test_pool, folder):
    torch.manual_seed(seed)
    options, block_args = {**BASE, **options}, {**ARGS, **block_args}
    model = ResNet(ResNestBottleneck, **options, block_args=block_args)
    batch, height, width = size
    # Norms see (N, C, 1, 1) inside the attention and want several images there, and maps of more than a pixel.
    randomise(model, torch.randn(8, options["in_chans"], max(height, 64), max(width, 64)))
    weights = {f"weights.{k}": v.half() for k, v in model.state_dict().items() if v.is_floating_point()}

    x = torch.randn(batch, options["in_chans"], height, width).half().float()
    last, taps = model.forward_intermediates(x)
    tensors = dict(zip(TAPS, taps))
    if name.startswith(HEAD_ONLY):
        tensors = {"layer4": tensors["layer4"]}
    tensors["input"] = x.half()
    tensors["pre_logits"] = model.forward_head(last, pre_logits=True)
    if test_pool:
        info = model.feature_info
        model = TestTimePoolHead(model, original_pool=test_pool)
        model.feature_info = info
    tensors["output"] = model(x)
    assert all(t.std() > 0.01 or t[0].numel() < 20 for t in tensors.values()), name
    metadata = {
        "options": json.dumps(options),
        "block_args": json.dumps(block_args),
        "test_pool": json.dumps(test_pool),
        "feature_info": json.dumps(model.feature_info),
        "timm": timm.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    tensors = {k: v.contiguous().clone() for k, v in {**weights, **tensors}.items()}
    save_file(tensors, folder / f"{name}.safetensors", metadata)
    print(f"{name}: output {tuple(tensors['output'].shape)} std {tensors['output'].std():.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(__file__).parent / "small"
    folder.mkdir(exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        make(name, seed, *case, folder)
