"""Class activation maps by PyPI's grad-cam, split weights by hooks on timm's modules, and the geometry of timm's crops.

    python tests/explain/make_cam.py

Needs timm, torch, grad-cam, opencv (headless will do), scikit-learn and matplotlib, which grad-cam imports. Writes
tests/explain/.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors import safe_open
from safetensors.numpy import save_file
from timm.data import create_transform, resolve_data_config
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet

TESTS = Path(__file__).resolve().parent.parent
DEMO = TESTS.parent / "crates/resnest/demo"
OUT = TESTS / "explain"
sys.path.insert(0, str(TESTS / "golden"))
import formula  # noqa: E402

PACKAGES = ("timm", "torch", "grad-cam", "pillow", "numpy", "opencv-python-headless")
VERSIONS = {name: version(name) for name in PACKAGES}


def save(name, tensors, **metadata):
    arrays = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in tensors.items()}
    fields = {key: json.dumps(value) for key, value in metadata.items()}
    save_file(arrays, OUT / f"{name}.safetensors", {**fields, "versions": json.dumps(VERSIONS)})
    print(name, {key: value.shape for key, value in arrays.items()})


def cams(model, x, classes):
    """For each class the sum of weighted activations as GradCAM makes it, and the map that it returns."""
    raw, shown = [], []
    with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        for index in classes:
            targets = [ClassifierOutputTarget(index)]
            shown.append(cam(input_tensor=x, targets=targets)[0])
            taken = cam.activations_and_grads
            activations, grads = taken.activations[0].numpy(), taken.gradients[0].numpy()
            raw.append(cam.get_cam_image(x, cam.target_layers[0], targets, activations, grads)[0])
    return np.stack(raw), np.stack(shown)


def split_weights(model, x):
    """What comes out of every rsoftmax, (N, R, C)."""
    found, hooks = {}, []

    def keep(name, radix):
        def hook(module, inputs, output):
            found[f"split.{name}"] = output.detach().reshape(len(x), radix, -1).numpy()

        return hook

    for name, module in model.named_modules():
        if hasattr(module, "rsoftmax"):
            hooks.append(module.rsoftmax.register_forward_hook(keep(name, module.radix)))
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def demo():
    model = timm.create_model(f"local-dir:{DEMO}", pretrained=True).eval()
    config = resolve_data_config(model=model)
    for photo in ("chelsea", "horse"):
        image = Image.open(DEMO / f"photos/{photo}.png").convert("RGB")
        for height, width in ((48, 48), (96, 160)):
            transform = create_transform(**{**config, "input_size": (3, height, width)})
            x = transform(image)[None]
            raw, shown = cams(model, x, range(10))
            with torch.inference_mode():
                logits = model(x)[0].numpy()
            best = int(logits.argmax())
            tensors = {"raw": raw, "shown": shown[[best]], "logits": logits, **split_weights(model, x)}
            save(f"demo_{photo}_{height}x{width}", tensors, photo=photo, size=[height, width], shown=best)


def full():
    """resnest14d at its own size, with the weights of tests/golden/full."""
    model = timm.create_model("resnest14d", pretrained=False).eval()
    with safe_open(TESTS / "golden/full/resnest14d.safetensors", "np") as file:
        names, norms = json.loads(file.metadata()["norm_names"]), file.get_tensor("norms")
        scale = float(file.get_tensor("head_scale")[0])
    norm = dict(zip(names, map(tuple, norms)))
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(formula.weight(name, tuple(tensor.shape), norm, scale)))
    x = torch.from_numpy(formula.image(3, 224, 224))
    with torch.inference_mode():
        ranked = model(x)[0].argsort(descending=True)
    classes = [int(ranked[rank]) for rank in (0, 1, 499, 999)]
    raw, shown = cams(model, x, classes)
    assert (raw[:2].max((1, 2)) > 0).all() and (raw[-1] <= 0).any()
    save("resnest14d", {"raw": raw, "shown": shown[:2]}, classes=classes)


def small(name):
    """The split weights of a network of tests/golden/small."""
    with safe_open(TESTS / f"golden/small/{name}.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}
    options, args = json.loads(metadata["options"]), json.loads(metadata["block_args"])
    model = ResNet(ResNestBottleneck, **options, block_args=args)
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    model.load_state_dict({**model.state_dict(), **weights})
    save(f"splits_{name}", split_weights(model.eval(), tensors["input"]))


# crop_mode, crop_pct, input size (height, width), image (width, height)
GEOMETRY = [
    ("center", 0.875, (48, 48), (120, 80)),
    ("center", 0.875, (48, 48), (75, 133)),
    ("center", 1.0, (96, 160), (200, 201)),
    ("center", 0.9, (160, 96), (61, 47)),
    ("center", 1.25, (48, 48), (90, 60)),
    ("squash", 0.875, (48, 48), (120, 80)),
    ("squash", 1.0, (64, 96), (70, 130)),
    ("border", 1.0, (48, 48), (120, 80)),
    ("border", 0.8, (64, 64), (77, 150)),
    ("border", 1.0, (64, 112), (90, 97)),
]


def ramp(width, height):
    """An image whose red is the column, green the row, and blue full."""
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    pixels[..., 0] = np.arange(width)[None, :]
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


def along(crop, channel, axis):
    """The straight line of a coordinate along an axis of the crop, from its pixels well inside the image."""
    inside = crop[..., 2] > 200
    place = np.flatnonzero(inside.any(1 - axis))
    edge = len(place) // 6
    place = place[edge : len(place) - edge]
    line = crop[..., channel].take(place, axis).mean(1 - axis, where=inside.take(place, axis))
    return np.polyfit(place + 0.5, line + 0.5, 1)


def geometry():
    """Where timm's crop lies on the resized image, measured in the crop, and a map laid there by Pillow."""
    cells = formula.uniform("map", 12).reshape(3, 4)
    cells = (cells - cells.min()) / (cells.max() - cells.min())
    cases, tensors = [], {"map": cells}
    for index, (mode, pct, (height, width), size) in enumerate(GEOMETRY):
        transform = create_transform((3, height, width), crop_pct=pct, crop_mode=mode, interpolation="bilinear")
        image = ramp(*size)
        resized = transform.transforms[0](image).size
        crop = np.asarray(transform.transforms[1](transform.transforms[0](image)))
        assert crop.shape == (height, width, 3)
        start, window = [], []
        for axis, wanted in ((1, width), (0, height)):
            side = 1 - axis
            slope, first = along(crop, side, axis)
            scale = size[side] / resized[side]
            assert abs(slope / scale - 1) < 0.01, (mode, slope, scale)
            # the line at the middle is surer than at the edge
            middle = (slope * wanted / 2 + first) / scale - wanted / 2
            assert abs(middle - round(middle)) < 0.25, (mode, size, middle)
            start.append(round(middle))
            window.append((start[-1] * scale, wanted * scale))
        tensors[f"over.{index}"] = laid(cells, window, size)
        cases.append(dict(mode=mode, pct=pct, input=[height, width], image=size, resized=resized, start=start))
    save("geometry", tensors, cases=cases)


def laid(cells, window, size):
    """A map over an image by Pillow's resize from a box, -1 outside the window."""
    out = np.full((size[1], size[0]), -1, dtype=np.float32)
    spans, box = [], []
    for (first, length), side, count in zip(window, size, reversed(cells.shape)):
        centres = np.arange(side) + 0.5
        pixels = np.flatnonzero((centres >= first) & (centres < first + length))
        span = (pixels[0], pixels[-1] + 1)
        spans.append(span)
        box.append([(edge - first) / length * count for edge in span])
    # A box may not leave the source: cells repeated around it stand for the values that go on at the edge.
    around = np.pad(cells, 1, mode="edge")
    (left, right), (top, bottom) = [[edge + 1 for edge in edges] for edges in box]
    (x0, x1), (y0, y1) = spans
    picture = Image.fromarray(around.astype(np.float32))
    # reducing is left out: the windows are larger than the map
    part = picture.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    out[y0:y1, x0:x1] = np.asarray(part)
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    demo()
    full()
    for name in ("radix4_cardinality2", "radix2_cardinality4", "radix1_cardinality4"):
        small(name)
    geometry()
