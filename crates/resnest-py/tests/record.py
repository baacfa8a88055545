"""What timm says about the demo model and its photos, written to recorded.json; needs torch, timm and pillow.

    python crates/resnest-py/tests/record.py

Logits, embeddings and a digest of each stage's map for the two demo photos in one batch; and for every set of options of
transforms.py a sha256 over the float32 values that timm's transform gives for every picture of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import PIL
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from transforms import options, pictures

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "resnest" / "demo"
PHOTOS = ["chelsea.png", "horse.png"]


def demo_model() -> Any:
    return timm.create_model(f"local-dir:{DEMO}", pretrained=True).eval()


@torch.no_grad()
def answers() -> dict[str, Any]:
    """Of the two photos as one batch."""
    model = demo_model()
    config = resolve_model_data_config(model)
    transform = create_transform(**config)
    x = torch.stack([transform(Image.open(DEMO / "photos" / name).convert("RGB")) for name in PHOTOS])
    last, maps = model.forward_intermediates(x)
    return {
        "config": config,
        "feature_info": model.feature_info,
        "logits": model(x).tolist(),
        "probabilities": model(x).softmax(-1).tolist(),
        "features": model.forward_head(last, pre_logits=True).tolist(),
        # Of each map: its shape, the mean of every channel, and its first pixel.
        "maps": [
            {
                "shape": list(m.shape),
                "means": m.mean((2, 3)).tolist(),
                "first": m[:, :, 0, 0].tolist(),
            }
            for m in maps
        ],
    }


def digests() -> list[dict[str, Any]]:
    found = []
    for chosen in options():
        transform, digest = create_transform(**chosen), hashlib.sha256()
        for _, picture in pictures(DEMO / "photos"):
            try:
                digest.update(transform(picture).contiguous().numpy().tobytes())
            except ValueError:
                # A side that comes to no pixel at all: Pillow refuses it.
                digest.update(b"refused")
        found.append({"options": chosen, "sha256": digest.hexdigest()})
    return found


def main() -> None:
    torch.set_num_threads(1)
    made_with = {"timm": timm.__version__, "torch": torch.__version__, "pillow": PIL.__version__}
    recorded = {"made_with": made_with, "photos": PHOTOS, **answers(), "transforms": digests()}
    text = json.dumps(rounded(recorded), indent=None, separators=(",", ":"))
    (HERE / "recorded.json").write_text(text + "\n")


def rounded(value: Any) -> Any:
    """Seven digits say all that a float32 says to a test with a tolerance."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    main()
