"""Writes the checkpoints of the folder fixtures with the real torch and timm.

    python make_fixtures.py

Made with torch 2.15, timm 1.0.31, numpy 2, safetensors 0.8 (fixtures/versions.json has the exact ones). Everything is
seeded and a second run gives the same tensors; legacy files name storages by their address in memory, so their bytes differ.
"""
import argparse
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors
import timm
import torch
from safetensors.torch import save_file
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet

OUT = Path(__file__).parent / "fixtures"
ARGS = dict(layers=[1, 1, 1, 1], channels=[4, 6, 8, 12], stem_width=4)
SIZE = 40


def small_model(num_classes=5):
    """The smallest ResNeSt with every kind of tensor; norms and biases random, so that nothing is 0 or 1."""
    torch.manual_seed(1)
    model = ResNet(ResNestBottleneck, num_classes=num_classes, stem_type="deep", avg_down=True, base_width=64,
                   cardinality=1, block_args=dict(radix=2, avd=True, avd_first=False), zero_init_last=False, **ARGS)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("num_batches_tracked"):
            value.fill_(1234567890123)
        elif value.ndim == 1:
            value.copy_(torch.rand_like(value) + (0.5 if name.endswith("weight") else -0.5))
    return model.eval()


def image(chans):
    """(1, chans, SIZE, SIZE), exactly representable, from a formula the Rust test has too."""
    i = np.arange(chans * SIZE * SIZE, dtype=np.uint64)
    values = ((i * 2654435761) % 65536).astype(np.float32) / 65536 - 0.5
    return torch.from_numpy(values).view(1, chans, SIZE, SIZE)


def config(folder, **more):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        "architecture": "resnest14d", "num_classes": 5, "num_features": 48, "global_pool": "avg",
        "model_args": {"in_chans": 3, "num_classes": 5, **ARGS, "drop_rate": 0.1},
        "label_names": {"0": "zero", "2": "two", "4": "four"},
        "label_descriptions": {"two": "one and one"},
        "pretrained_cfg": {"tag": "test", "custom_load": False, "input_size": [3, SIZE, SIZE],
                           "fixed_input_size": False, "interpolation": "bicubic", "crop_pct": 0.9,
                           "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
                           "num_classes": 5, "pool_size": None, "first_conv": "conv1.0", "classifier": "fc", **more},
    }, indent=1) + "\n")


def views():
    """Tensors that are not simply their storage's bytes in order."""
    base = torch.arange(240, dtype=torch.float32) / 7
    shared = torch.arange(24, dtype=torch.float32)
    tagged = torch.nn.Parameter(torch.arange(3.0))
    tagged.note = "an attribute of its own"
    return OrderedDict(
        transposed=base[:24].view(4, 6).t(),
        channels_last=base.view(2, 4, 5, 6).to(memory_format=torch.channels_last),
        sliced=base[100:140].view(5, 8)[1:4, 2:7],
        stepped=base[3:99:5],
        first_half=shared[:12],
        second_half=shared[12:].view(3, 4),
        whole=shared,
        expanded=torch.tensor([2.5]).expand(4, 3),
        scalar=torch.tensor(3.25),
        empty=torch.empty(0, 3),
        parameter=torch.nn.Parameter(torch.arange(6.0).view(2, 3)),
        tagged=tagged,
        half=base[:8].half(),
        bfloat=base[:8].bfloat16(),
        double=base[:8].double() / 3,
    )


def others():
    return OrderedDict(i64=torch.tensor([-1, 2**40]), i32=torch.tensor([-1, 5], dtype=torch.int32),
                       i16=torch.tensor([-2], dtype=torch.int16), i8=torch.tensor([-3], dtype=torch.int8),
                       u8=torch.tensor([200], dtype=torch.uint8), flag=torch.tensor([True, False]))


def training(state, ema):
    """What timm's CheckpointSaver writes, with the EMA weights as the ones to take."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "arch": "resnest14d", "state_dict": state, "optimizer": optimizer.state_dict(), "version": 2,
            "args": argparse.Namespace(lr=0.1, data="/data", betas=(0.9, 0.999), resume=None),
            "amp_scaler": {"scale": 65536.0, "_growth_tracker": 7}, "state_dict_ema": ema,
            "metric": np.float64(71.5), "seed": 2**70}


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def evil():
    touch = "touch PWNED"
    torch.save({"state_dict": {"w": Evil(os.system, touch)}}, OUT / "evil_zip.pth")
    torch.save({"w": Evil(os.system, touch)}, OUT / "evil_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"w": Evil(eval, "open('PWNED', 'w')")}, OUT / "evil_protocol4.pth", pickle_protocol=4)
    (OUT / "evil_plain.pth").write_bytes(pickle.dumps(Evil(os.system, touch), protocol=2))


def rezip(source, target, change=lambda name, data: (name, data), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for item in old.infolist():
            name, data = change(item.filename, old.read(item))
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, compression)


def big_endian():
    small = OUT / "mini_zip.pth"
    rezip(small, OUT / "big_endian_zip.pth", lambda n, d: (n, b"big" if n.endswith("byteorder") else d))
    rezip(small, OUT / "deflated_zip.pth", compression=zipfile.ZIP_DEFLATED)
    legacy = (OUT / "mini_legacy.pth").read_bytes()
    at = legacy.index(b"little_endian")
    true = legacy.index(b"\x88", at)
    (OUT / "big_endian_legacy.pth").write_bytes(legacy[:true] + b"\x89" + legacy[true + 1:])


def mini(**more):
    return OrderedDict(a=torch.arange(6, dtype=torch.float32).view(2, 3), b=torch.tensor([1.5, -2.0]), **more)


def expected(ref):
    """timm's own outputs, through `local-dir:`, for every adaptation the loader makes."""
    make = lambda **kw: timm.create_model(f"local-dir:{ref}", pretrained=True, **kw).eval()
    out, weights = {}, {}
    with torch.no_grad():
        for name, kw in [("plain", {}), ("in1", dict(in_chans=1)), ("in4", dict(in_chans=4)), ("in7", dict(in_chans=7)),
                         ("max", dict(global_pool="max")), ("stride16", dict(output_stride=16)),
                         ("no_head", dict(num_classes=0)), ("no_pool", dict(num_classes=0, global_pool=""))]:
            model = make(**kw)
            out[name] = model(image(kw.get("in_chans", 3))).flatten().tolist()
            if name.startswith("in"):
                weights[f"f32.{name}"] = model.conv1[0].weight.detach().clone()
        model = make(num_classes=7)
        out["new_head_features"] = model.forward_head(model.forward_features(image(3)), pre_logits=True).flatten().tolist()
        demo = Path(os.environ.get("RESNEST_SHARED", Path(__file__).parents[5] / "shared")) / "demo-model"
        out["demo"] = timm.create_model(f"local-dir:{demo}", pretrained=True).eval()(image(3)).flatten().tolist()
        for chans in (1, 4, 7):
            for dtype in ("f16", "bf16"):
                adapted = timm.create_model(f"local-dir:{OUT / dtype}", pretrained=True, in_chans=chans)
                weights[f"{dtype}.in{chans}"] = adapted.conv1[0].weight.detach().float().clone()
    (OUT / "expected.json").write_text(json.dumps(out) + "\n")
    save_file(weights, OUT / "adapted.safetensors")


def main():
    OUT.mkdir(exist_ok=True)
    model = small_model()
    state = model.state_dict()
    ref = OUT / "ref"
    config(ref)
    save_file(dict(state), ref / "model.safetensors", metadata={"format": "pt"})
    for name, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16), ("f64", torch.float64)]:
        config(OUT / name)
        cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        save_file(cast, OUT / name / "model.safetensors", metadata={"format": "pt"})
    names = list(state)
    config(OUT / "sharded")
    shards = [names[: len(names) // 2], names[len(names) // 2:]]
    files = [f"model-{i + 1:05}-of-00002.safetensors" for i in range(2)]
    for part, file in zip(shards, files):
        save_file({k: state[k] for k in part}, OUT / "sharded" / file)
    index = {"metadata": {"total_size": 0}, "weight_map": {k: f for part, f in zip(shards, files) for k in part}}
    (OUT / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    config(OUT / "bin")
    torch.save(state, OUT / "bin" / "pytorch_model.bin")
    torch.save(state, OUT / "legacy.pth", _use_new_zipfile_serialization=False)
    zeros = OrderedDict((k, torch.zeros_like(v)) for k, v in list(state.items())[:3])
    torch.save(training(zeros, OrderedDict((f"module.{k}", v) for k, v in state.items())), OUT / "training.pth.tar")
    torch.save(training(zeros, mini()), OUT / "training_legacy.pth.tar", _use_new_zipfile_serialization=False)

    wrong = OrderedDict(wrong=torch.zeros(1))
    wrapped = {"plain": mini(), "ema": {"model": wrong, "state_dict": wrong, "model_ema": wrong, "state_dict_ema": mini()},
               "model_ema": {"model": wrong, "state_dict": wrong, "model_ema": mini(), "state_dict_ema": None},
               "state_dict": {"model": wrong, "state_dict": mini(), "model_ema": None}, "model": {"model": mini()},
               "ddp": OrderedDict((f"module.{k}", v) for k, v in mini().items()),
               "compiled": OrderedDict((f"_orig_mod.{k}", v) for k, v in mini().items()),
               "compiled_ddp": OrderedDict((f"_orig_mod.module.{k}", v) for k, v in mini().items()),
               "ddp_compiled": OrderedDict((f"module._orig_mod.{k}", v) for k, v in mini().items()),
               "collision": OrderedDict([("a", torch.zeros(1)), ("module.a", torch.ones(1))]),
               "stray": {**mini(), "epoch": 3, "note": "text"}, "other_types": others(), "views": views()}
    for name, content in wrapped.items():
        torch.save(content, OUT / f"wrap_{name}.pth")
    torch.save(mini(), OUT / "mini_zip.pth")
    torch.save(mini(), OUT / "mini_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(mini(), OUT / "mini_protocol4.pth", pickle_protocol=4)
    torch.save(mini(extra=torch.tensor([1, 2], dtype=torch.uint16)), OUT / "mini_v3.pth")
    save_file(dict(mini()), OUT / "mini.safetensors")
    torch.save(views(), OUT / "views_legacy.pth", _use_new_zipfile_serialization=False)
    save_file({k: v.detach().clone().contiguous() for k, v in views().items()}, OUT / "views.safetensors")
    torch.save(torch.nn.Linear(2, 2), OUT / "module_zip.pth")
    evil()
    big_endian()
    expected(ref)
    versions = dict(torch=torch.__version__, timm=timm.__version__, numpy=np.__version__, safetensors=safetensors.__version__)
    (OUT / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
