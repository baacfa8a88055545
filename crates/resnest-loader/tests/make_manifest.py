"""The [[model]] entries of weights-manifest.toml, from timm itself.

    python crates/resnest-loader/tests/make_manifest.py --results FOLDER

FOLDER holds timm's published results tables (`results/*.csv` of https://github.com/huggingface/pytorch-image-models; they are in
no package). What stands before the first entry and after the last one in the manifest, written by hand, stays as it is.

The first entry of an architecture is the one timm takes for its bare name. Parameters and multiply-accumulates are counted
on the models timm builds, accuracies are those of the row with the entry's input size and crop.
"""

import argparse
import csv
from pathlib import Path

import timm
import torch
from timm.models import get_pretrained_cfg
from timm.models._registry import _model_default_cfgs

MODULES = ["resnest", "resnet", "sknet", "res2net", "senet"]
MANIFEST = Path(__file__).parents[3] / "weights-manifest.toml"
# The package has a copy, for it can hold nothing from outside its folder.
COPY = Path(__file__).parents[1] / "weights-manifest.toml"
TABLES = {
    "imagenet": ("top1", "top5"),
    "imagenet-real": ("real_top1", None),
    "imagenetv2-matched-frequency": ("v2_top1", None),
}


def tags():
    """Every pretrained tag, an architecture's default first."""
    for module in MODULES:
        for name in timm.list_models(module=module):
            for tag in _model_default_cfgs[name].tags:
                if tag and get_pretrained_cfg(f"{name}.{tag}").has_weights:
                    yield f"{name}.{tag}"


def read_tables(folder):
    """Table → tag → its rows."""
    tables = {}
    for table in TABLES:
        with open(folder / f"results-{table}.csv", newline="") as file:
            rows = {}
            for row in csv.DictReader(file):
                rows.setdefault(row["model"], []).append(row)
        tables[table] = rows
    return tables


def counts(name, cfg):
    """Parameters, and 1e9 multiply-accumulates of convolutions and classifier for one image of the input size."""
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False, num_classes=cfg.num_classes).eval()
        macs = 0

        def count(module, _, out):
            nonlocal macs
            taps = module.in_features if isinstance(module, torch.nn.Linear) else module.weight[0].numel()
            macs += out.numel() * taps

        for module in model.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.register_forward_hook(count)
        with torch.inference_mode():
            model(torch.zeros(1, *cfg.input_size))
    return sum(p.numel() for p in model.parameters()), macs / 1e9


def value(v):
    """A value as TOML writes it."""
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, str):
        return f'"{v}"'
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(value(x) for x in v) + "]"
    return f"{v:_}" if isinstance(v, int) and v > 99_999 else str(v)


def accuracies(tag, cfg, tables):
    for table, names in TABLES.items():
        for row in tables[table].get(tag, []):
            same = int(row["img_size"]) == cfg.input_size[-1] and float(row["crop_pct"]) == round(cfg.crop_pct, 3)
            if same:
                yield from ((name, row[column]) for name, column in zip(names, ("top1", "top5")) if name)
                break


def entry(tag, tables):
    cfg = get_pretrained_cfg(tag)
    parameters, gmacs = counts(tag.split(".")[0], cfg)
    fields = {"name": tag}
    if cfg.hf_hub_id:
        fields |= {"repo": cfg.hf_hub_id, "revision": "main", "files": ["model.safetensors", "pytorch_model.bin"]}
    else:
        fields["url"] = cfg.url
    fields |= {
        "license": cfg.license,
        "input_size": cfg.input_size,
        "test_input_size": cfg.test_input_size,
        "crop_pct": cfg.crop_pct,
        "test_crop_pct": cfg.test_crop_pct,
        "crop_mode": cfg.crop_mode,
        "interpolation": cfg.interpolation,
        "mean": cfg.mean,
        "std": cfg.std,
        "num_classes": cfg.num_classes,
        "pool_size": cfg.pool_size,
        "first_conv": cfg.first_conv,
        "classifier": cfg.classifier,
    }
    lines = [f"{k} = {value(v)}" for k, v in fields.items() if v is not None]
    lines += [f"params = {value(parameters)}", f"gmacs = {gmacs:.2f}"]
    lines += [f"{k} = {v}" for k, v in accuracies(tag, cfg, tables)]
    return "\n".join(["[[model]]", *lines, f'source = "timm-{timm.__version__}"', "", ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, required=True)
    tables = read_tables(parser.parse_args().results)
    old = MANIFEST.read_text()
    before, _, rest = old.partition("[[model]]")
    after = rest[rest.index("# The files of the original repository") :]
    entries = [entry(tag, tables) for tag in tags()]
    MANIFEST.write_text(before + "".join(entries) + after)
    COPY.write_text(MANIFEST.read_text())
    measured = sum("top1 = " in text for text in entries)
    print(f"{len(entries)} entries, {measured} with accuracies, {MANIFEST.stat().st_size} bytes")
