"""How far PyTorch's own bf16 is from f64, for the networks whose references are recorded.

    python tests/golden/make_autocast.py [--into FILE] [NAME ...]

Each network runs under `torch.autocast("cpu", torch.bfloat16)` on the recorded image, with the recorded weights (for
tests/golden/small) or those that the formula and the recorded norms give (tests/golden/full, tests/family), and once in f64.
tests/golden/autocast.json holds the relative error of its logits and stages: the root of the mean square of the differences
over that of f64's values (`rms`), and the largest difference over the largest value (`max`), both over just the values that
the reference records, so that a test can put its own errors beside them. A run of some networks keeps the others' figures.

Which instructions multiply bf16 (AVX512_BF16, AMX, none) changes the last bits, so the CPU is recorded too.
"""

import argparse
import copy
import json
import platform
import sys
from pathlib import Path

import timm
import torch
from safetensors import safe_open
from timm.layers.test_time_pool import TestTimePoolHead
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet

import formula

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "family"))
import reference  # noqa: E402

FILE = HERE / "autocast.json"
SMALL_TAPS = ["act1", "layer1", "layer2", "layer3", "layer4", "pre_logits", "output"]


def opened(path):
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def cases():
    """Name → a function that gives (model, image, the count of values recorded of each stage) of every recorded network."""
    found = {}
    for path in sorted((HERE / "small").glob("*.safetensors")):
        found[f"golden/small/{path.stem}"] = lambda path=path: small(*opened(path))
    for path in sorted((HERE / "full").glob("*.safetensors")):
        found[f"golden/full/{path.stem}"] = lambda path=path: by_formula(path.stem, *opened(path))
    for path in sorted((HERE.parent / "family" / "native").glob("*.safetensors")):
        found[f"family/native/{path.stem}"] = lambda path=path: by_formula(path.stem, *opened(path))
    tensors, metadata = opened(HERE.parent / "family" / "small.safetensors")
    for name, about in sorted(metadata.items()):
        part = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
        found[f"family/small/{name}"] = lambda name=name, part=part, about=about: by_formula(name, part, json.loads(about))
    return found


def small(tensors, metadata):
    """A network of golden/small: all its weights are recorded, and whole stages."""
    options, block_args = json.loads(metadata["options"]), json.loads(metadata["block_args"])
    model = ResNet(ResNestBottleneck, **options, block_args=block_args).eval()
    weights = {k.removeprefix("weights."): v.float() for k, v in tensors.items() if k.startswith("weights.")}
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and all(k.endswith("num_batches_tracked") for k in missing.missing_keys)
    pool = json.loads(metadata["test_pool"])

    def stages(x):
        last, taps = model.forward_intermediates(x)
        found = dict(zip(SMALL_TAPS, [*taps, model.forward_head(last, pre_logits=True)]))
        if not pool:
            return found | {"output": model(x)}
        # The test-time pool takes the network's head for itself.
        whole = copy.deepcopy(model)
        whole.feature_info = model.feature_info
        return found | {"output": TestTimePoolHead(whole, original_pool=pool).to(x.dtype)(x)}

    recorded = {name: tensors[name].flatten() for name in SMALL_TAPS if name in tensors}
    return model, tensors["input"].float(), stages, recorded


def by_formula(name, tensors, metadata):
    """A published architecture: weights by formula, some values of each stage recorded."""
    model = timm.create_model(name, pretrained=False).eval()
    norms = [n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    names = json.loads(metadata["norm_names"]) if "norm_names" in metadata else sorted(norms)
    figures = tensors["norms"].tolist()
    assert len(names) == len(figures), name
    last = json.loads(metadata["last_norms"]) if isinstance(metadata.get("last_norms"), str) else metadata.get("last_norms")
    norm = {n: tuple(f) for n, f in zip(names, figures)}
    reference.fill(model, norm, float(tensors["head_scale"][0]), last or [".bn3"])
    size = metadata["input_size"]
    image = torch.from_numpy(formula.image(*(json.loads(size) if isinstance(size, str) else size)))

    def stages(x):
        taps, logits = reference.stages(model, x)
        return dict(zip(reference.TAPS, taps)) | {"logits": logits}

    recorded = {tap: tensors[f"{tap}.sample"] for tap in reference.TAPS} | {"logits": tensors["logits_f64"]}
    return model, image, stages, recorded


def spread(flat, count):
    """The `count` values that the recording scripts pick; some twice where there are fewer."""
    return flat[torch.arange(count) * flat.numel() // count]


def error(got, exact):
    """Of values in f64: the relative errors described above."""
    difference, square = got - exact, exact.square().mean().sqrt()
    rms = float(difference.square().mean().sqrt() / square)
    return {"rms": round_to(rms), "max": round_to(float(difference.abs().max() / exact.abs().max()))}


def round_to(value):
    return float(f"{value:.3e}")


@torch.inference_mode()
def measure(name, case):
    model, x, stages, recorded = case()
    with torch.autocast("cpu", torch.bfloat16):
        low = stages(x)
    model.double()
    exact = stages(x.double())
    found = {}
    for stage, values in recorded.items():
        count = values.numel()
        picked = [spread(whole[stage].double().flatten(), count) for whole in (low, exact)]
        # The f64 of today must be the reference of then: else these are not the recorded weights.
        away = (picked[1] - values.double()).abs().max() / values.double().abs().max()
        assert away < 1e-4, f"{name} {stage}: the recorded values are {away:.1e} away"
        found[stage] = error(*picked)
    print(f"{name}: " + ", ".join(f"{stage} {e['rms']:.1e}" for stage, e in found.items()), flush=True)
    return found


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    field = lambda key: next((line.split(":")[1].strip() for line in lines if line.startswith(key)), "unknown")  # noqa: E731
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    flags = [flag for flag in wanted if flag in field("flags").split()]
    return f"{field('model name')}, family {field('cpu family')}, model {field('model')} ({' '.join(flags)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of names, such as full/resnest50d; without any: all")
    parser.add_argument("--into", type=Path, default=FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(args.into.read_text())["errors"] if args.names and args.into.exists() else {}
    chosen = {n: c for n, c in cases().items() if not args.names or any(part in n for part in args.names)}
    for name, case in chosen.items():
        kept[name] = measure(name, case)
        about = {"timm": timm.__version__, "torch": torch.__version__, "python": platform.python_version(), "cpu": cpu()}
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept))
        args.into.write_text(f'{{"made_with": {json.dumps(about)},\n "errors": {{\n{rows}\n }}}}\n')


if __name__ == "__main__":
    main()
