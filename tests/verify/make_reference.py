"""Records what timm computes, stage by stage, for `resnest verify MODEL --reference OUT`.

    python tests/verify/make_reference.py resnest50d.in1k ref.safetensors photo.jpg other.png
    python tests/verify/make_reference.py hf-hub:timm/resnet50.a1_in1k ref.safetensors --random 2
    python tests/verify/make_reference.py resnest50d ref.safetensors photo.jpg --checkpoint my-weights.pth
    python tests/verify/make_reference.py local-dir:crates/resnest/demo ref.safetensors photo.jpg

Any ResNet-family name of timm will do (`demo` is the folder of the demo model). It needs timm, torch and safetensors.

The file is a safetensors file. Tensors:

    image.N              encoded bytes of the Nth image, u8; absent with --random
    input                what enters the network, f32 (N, C, H, W): the images preprocessed by timm, or normal noise
    STAGE, STAGE.f64     each stage's output in f32, and of the same network and input computed in f64

Stages are those of timm's feature_info (act1, layer1 ... layer4), then pre_logits (what enters the classifier) and
logits. With --stage-samples S a stage of more than S values is stored as the S values at the flat positions
i * count // S, i = 0 ... S-1; `shapes` in the metadata has the whole shape of every stage, sampled or not.
"""

import argparse
import json
import platform
from pathlib import Path

import PIL
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

FORMAT = "resnest-reference-1"
DEMO = Path(__file__).parents[2] / "crates/resnest/demo"


def input_size(text):
    """N or HxW to (height, width)."""
    sides = text.lower().split("x")
    return int(sides[0]), int(sides[-1])


def load(name, checkpoint):
    """The network with its weights, in evaluation mode."""
    if name == "demo":
        name = f"local-dir:{DEMO}"
    if checkpoint:
        return timm.create_model(name, pretrained=False, checkpoint_path=checkpoint).eval()
    return timm.create_model(name, pretrained=True).eval()


def prepare(model, images, overrides):
    """The images as the model's own evaluation transform makes them, and its settings."""
    config = timm.data.resolve_data_config(dict(overrides), model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    mode = "L" if config["input_size"][0] == 1 else "RGB"
    opened = [Image.open(path).convert(mode) for path in images]
    return (torch.stack([transform(image) for image in opened]) if opened else None), config


def noise(count, config, seed):
    """Normalised images of normal noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *config["input_size"], generator=generator)


@torch.inference_mode()
def stages(model, x):
    """Every stage's output by its name, in the order they run."""
    last, taps = model.forward_intermediates(x)
    found = {info["module"]: tap for info, tap in zip(model.feature_info, taps, strict=True)}
    found["pre_logits"] = model.forward_head(last, pre_logits=True)
    found["logits"] = model.forward_head(last)
    assert torch.equal(found["logits"], model(x)), "the stages are not those of the model's forward"
    return found


def sampled(tensor, samples):
    """The tensor, or evenly strided values of it where it has more than `samples`."""
    flat = tensor.flatten()
    if not samples or flat.numel() <= samples:
        return tensor.contiguous().clone()
    return flat[torch.arange(samples) * flat.numel() // samples].clone()


def record(model, name, out, images=(), random=0, seed=0, overrides=None, stage_samples=0):
    """Runs `model` and writes the reference `out`."""
    overrides = overrides or {}
    x, config = prepare(model, images, overrides)
    if x is None:
        x = noise(random, config, seed)
    single = stages(model, x)
    double = stages(model.double(), x.double())
    model.float()

    bytes_of = lambda path: torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
    tensors = {f"image.{i}": bytes_of(path) for i, path in enumerate(images)}
    tensors["input"] = x.contiguous()
    for stage, value in single.items():
        tensors[stage] = sampled(value, stage_samples)
        tensors[f"{stage}.f64"] = sampled(double[stage], stage_samples)
    cfg = model.pretrained_cfg
    metadata = {
        "format": FORMAT,
        "model": name,
        "architecture": cfg.get("architecture") or "",
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": [Path(path).name for path in images],
        "seed": None if images else seed,
        "overrides": overrides,
        "data_config": config,
        "stages": list(single),
        "shapes": {stage: list(value.shape) for stage, value in single.items()},
        "stage_samples": stage_samples,
        "pretrained_cfg": cfg,
        "versions": {
            "timm": timm.__version__,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "python": platform.python_version(),
        },
    }
    text = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in metadata.items()}
    save_file(tensors, out, text)
    error = max(float((single[s].double() - double[s]).abs().max() / double[s].abs().max()) for s in single)
    print(f"{out}: {name}, input {tuple(x.shape)}, f32 within {error:.1e} of f64 (of each stage's largest value)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N images of seeded noise instead of files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", metavar="FILE", help="weights for the architecture MODEL")
    parser.add_argument("--input-size", type=input_size, metavar="N|HxW", help="other than the model's own")
    parser.add_argument("--crop-pct", type=float, help="other than the model's own")
    parser.add_argument("--stage-samples", type=int, default=0, metavar="S", help="at most S values a stage")
    args = parser.parse_intermixed_args()
    if bool(args.images) == bool(args.random):
        parser.error("give images, or --random N")
    model = load(args.model, args.checkpoint)
    overrides = {}
    if args.input_size:
        overrides["input_size"] = [model.pretrained_cfg["input_size"][0], *args.input_size]
    if args.crop_pct:
        overrides["crop_pct"] = args.crop_pct
    record(model, args.model, args.out, args.images, args.random, args.seed, overrides, args.stage_samples)


if __name__ == "__main__":
    main()
