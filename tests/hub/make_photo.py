"""What timm makes of a bundled photo with one pretrained tag of each kind of the family, from the photo's bytes to the logits.

    python tests/hub/make_photo.py [TAG ...]

Writes tests/hub/photo.json: for each tag its `config.json` as timm writes it for the hub, and the five best classes in f64
with timm's own f32 logits. Weights come from the formula and from the norms recorded in tests/family, which know an
architecture by name; the tag decides how the photo is prepared.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
from PIL import Image
from safetensors import safe_open
from timm.models._hub import save_config_for_hf

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/family"))
import reference  # noqa: E402

OUT = ROOT / "tests/hub/photo.json"
# The first whose best classes are far enough apart is taken.
PHOTOS = [f"crates/resnest/demo/photos/{name}.png" for name in ("chelsea", "horse")]
BEST = 5
# What separates two of the best classes is more than what fast kernels may add to both, as a share of the largest logit.
MARGIN = 4e-4
TAGS = [
    "resnet18.fb_swsl_ig1b_ft_in1k",  # not for commercial use
    "resnet50.a1_in1k",
    "wide_resnet50_2.tv2_in1k",  # 176x176
    "resnext50_32x4d.tv2_in1k",
    "seresnext26d_32x4d.bt_in1k",
    "senet154.gluon_in1k",
    "ecaresnet26t.ra2_in1k",  # 256x256
    "ecaresnet50d_pruned.miil_in1k",
    "resnetrs50.tf_in1k",  # crop 0.91
    "resnetaa50.a1h_in1k",
    "resnetblur50.bt_in1k",
    "resnet50_gn.a1h_in1k",
    "test_resnet.r160_in1k",
    "skresnet18.ra_in1k",
    "res2net50_26w_4s.in1k",
    "resnest14d.gluon_in1k",
    "legacy_seresnet18.in1k",  # on no hub
]


def recorded(name):
    """Norms, scale of the classifier and endings of the last norms that tests/family has for an architecture."""
    native = reference.FOLDER / f"native/{name}.safetensors"
    path, prefix = (native, "") if native.exists() else (reference.FOLDER / "small.safetensors", f"{name}/")
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        about = json.loads(metadata[name]) if prefix else metadata
        last = about["last_norms"]
        return (
            file.get_tensor(f"{prefix}norms"),
            float(file.get_tensor(f"{prefix}head_scale")[0]),
            json.loads(last) if isinstance(last, str) else last,
        )


def filled(tag):
    """The network of a tag, with the weights of the formula."""
    model = timm.create_model(tag, pretrained=False).eval()
    figures, head_scale, last = recorded(tag.split(".")[0])
    names = sorted(n.removesuffix(".running_mean") for n in model.state_dict() if n.endswith(".running_mean"))
    norm = {name: tuple(map(np.float32, row)) for name, row in zip(names, figures, strict=True)}
    reference.fill(model, norm, head_scale, last)
    return model


def config_json(model):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        save_config_for_hf(model, file.name)
        return json.load(file)


def margin(logits):
    """The least distance between two neighbours of the best classes and the next one, as a share of the largest logit."""
    best = logits.sort(descending=True).values[: BEST + 1]
    return float((best[:-1] - best[1:]).min() / logits.abs().max())


@torch.inference_mode()
def record(tag):
    model = filled(tag)
    config = config_json(model)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    prepared = [transform(Image.open(ROOT / path).convert("RGB"))[None] for path in PHOTOS]
    single = [model(x)[0] for x in prepared]
    model = model.double()
    double = [model(x.double())[0] for x in prepared]
    photo = next((i for i, logits in enumerate(double) if margin(logits) > MARGIN), None)
    assert photo is not None, f"{tag}: the best classes are too close to each other; take another tag"
    single, double = single[photo], double[photo]
    error = float((single - double).abs().max())
    print(f"{tag}: {PHOTOS[photo]} to {tuple(prepared[photo].shape)}", end=", ")
    print(f"logits to {double.max():.3f}, std {double.std():.3f}, margin {margin(double):.1e}, f32 {error:.1e}", flush=True)
    return {
        "config": config,
        "photo": PHOTOS[photo],
        "largest_logit": float(double.abs().max()),
        "f32_error": error,
        "best": [
            {"index": int(i), "logit": float(single[i]), "logit_f64": float(double[i])}
            for i in double.argsort(descending=True)[:BEST]
        ],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    models = json.loads(OUT.read_text())["models"] if asked else {}
    for tag in asked or TAGS:
        models[tag] = record(tag)
    about = {"versions": {**reference.VERSIONS, "pillow": PIL.__version__}, "models": models}
    OUT.write_text(json.dumps(about, indent=1) + "\n")
