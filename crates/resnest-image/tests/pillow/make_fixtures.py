"""Writes the synthetic image files of every kind, and what Pillow and timm make of them.

    python crates/resnest-image/tests/pillow/make_fixtures.py [--photos ../shared/data/photos]
    python crates/resnest-image/tests/pillow/make_fixtures.py --files-only
    PYTHONPATH=<pillow 12> python crates/resnest-image/tests/pillow/make_fixtures.py --order-only

Output, next to this script:
- files/*           encoded files, small
- decode.json       per file: size and sha256 of the RGB and L pixels, or Pillow's error
- crops.json        per case: sha256 of timm's u8 crop
- tensors.json      a few normalised tensors' sha256 (f32, little endian)
- crops_pillow12.json  crops of tall portraits by an older Pillow (the last command)
- photos.json       the same for the photos in ../shared (which are not redistributed)

Every JSON records the versions that made it. `--files-only` makes the files and decode.json, for which timm
and PyTorch are not needed; the versions recorded before must be the same.
"""

import argparse
import contextlib
import hashlib
import json
import platform
import sys
from pathlib import Path

import PIL
from PIL import Image, ImageOps, features

from jpeg_files import jpegs
from made_files import made
from other_files import bmps, gifs, others, pngs, webps
from small_files import icos, pnms, qois, tgas
from synth import FILES
from tiff_files import tiffs

HERE = Path(__file__).parent
VERSIONS = {
    "pillow": PIL.__version__,
    "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
    "libwebp": features.version_module("webp"),
    "libtiff": features.version_codec("libtiff"),
}


def versions(name):
    """What made a JSON: with PyTorch, unless it is made again without and nothing else has changed."""
    try:
        import timm
        import torch
        import torchvision
    except ImportError:
        recorded = json.loads((HERE / name).read_text())["versions"]
        assert recorded.items() >= VERSIONS.items(), (recorded, VERSIONS)
        return recorded
    return {**VERSIONS, "timm": timm.__version__, "torch": torch.__version__,
            "torchvision": torchvision.__version__, "python": platform.python_version()}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def decoded(path):
    out = {}
    for key, mode in (("rgb", "RGB"), ("luma", "L")):
        try:
            with Image.open(path) as image:
                pixels = image.convert(mode)
            out["width"], out["height"] = pixels.size
            out[key] = sha(pixels.tobytes())
        except Exception as error:  # noqa: BLE001 - the kind of error is Pillow's affair
            return {"error": f"{type(error).__name__}: {error}".replace(str(HERE), "")[:120]}
    if "_exif" in path.name:
        with Image.open(path) as image, contextlib.suppress(Exception):  # it writes the EXIF too, if it can
            upright = ImageOps.exif_transpose(image).convert("RGB")
            out = {"upright": sha(upright.tobytes()), "upright_size": upright.size, **out}
    return out


GEOMETRY = ("Resize", "CenterCrop", "ResizeKeepRatio", "CenterCropOrPad")


def transform(size, crop_pct, mode, interpolation, mean, std):
    from timm.data import create_transform

    return create_transform((3, *size), interpolation=interpolation, crop_pct=crop_pct, crop_mode=mode,
                            mean=mean, std=std)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def crop(image, size, crop_pct, mode, interpolation):
    mean, std = ((0.5,), (0.25,)) if image.mode == "L" else IMAGENET
    steps = transform(size, crop_pct, mode, interpolation, mean, std).transforms
    for step in steps:
        if type(step).__name__ in GEOMETRY:
            image = step(image)
    return image


SOURCES = [(61, 47), (47, 61), (200, 90), (90, 200), (33, 140), (300, 300), (1, 1), (1, 50), (50, 1),
           (2, 3), (511, 257), (257, 640), (640, 100), (224, 224), (5, 1000)]
TARGETS = [((32, 32), 0.875), ((32, 32), 1.0), ((31, 33), 0.9), ((48, 20), 0.95), ((20, 48), 0.875),
           ((64, 64), 1.3), ((17, 17), 0.4), ((96, 80), 2.5), ((224, 224), 0.875), ((1, 1), 1.0)]
FILTERS = ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]


def synthetic(width, height, channels):
    """The source of a crop case; crates/resnest-image/tests/pillow.rs makes the same from the same formula."""
    out = bytearray()
    state = width * 7919 + height * 104729 + channels
    for _ in range(width * height * channels):
        state = (state * 1664525 + 1013904223) % (1 << 32)
        out.append(state >> 24)
    image = Image.frombytes("RGB" if channels == 3 else "L", (width, height), bytes(out))
    return image


PORTRAITS = [(47, 61), (90, 200), (33, 140), (257, 640), (5, 1000), (1, 50)]


def crops(sources=SOURCES):
    cases = []
    for w, h in sources:
        for channels in (3, 1):
            image = synthetic(w, h, channels)
            for size, pct in TARGETS:
                for mode in ("center", "squash", "border"):
                    for interpolation in FILTERS:
                        if channels == 1 and interpolation not in ("bilinear", "bicubic", "nearest"):
                            continue
                        case = {"source": [w, h, channels], "size": size, "crop_pct": pct,
                                "crop_mode": mode, "interpolation": interpolation}
                        try:
                            case["sha"] = sha(crop(image, size, pct, mode, interpolation).tobytes())[:16]
                        except Exception as error:  # noqa: BLE001
                            case["error"] = f"{type(error).__name__}: {error}"[:80]
                        cases.append(case)
    return cases


def tensors():
    cases = []
    for w, h, channels, mean, std in [(61, 47, 3, *IMAGENET), (300, 300, 3, (0.5,) * 3, (0.5,) * 3),
                                      (200, 90, 3, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
                                      (90, 200, 1, (0.5,), (0.25,)), (90, 200, 1, (0.4468,), (0.2259,))]:
        for mode in ("center", "border"):
            t = transform((32, 40), 0.875, mode, "bicubic", mean, std)
            tensor = t(synthetic(w, h, channels)).contiguous()
            cases.append({"source": [w, h, channels], "size": [32, 40], "crop_pct": 0.875, "crop_mode": mode,
                          "interpolation": "bicubic", "mean": mean, "std": std,
                          "sha": sha(tensor.numpy().astype("<f4").tobytes())})
    return cases


PHOTO_CROPS = [((224, 224), 0.875, "center", "bilinear"), ((224, 224), 0.875, "center", "bicubic"),
               ((256, 256), 0.875, "center", "bilinear"), ((320, 320), 0.909, "center", "bicubic"),
               ((416, 416), 0.928, "center", "bicubic"), ((224, 224), 0.875, "squash", "bicubic"),
               ((224, 224), 0.9, "border", "bilinear"), ((192, 288), 0.95, "center", "lanczos")]


def photos(folder):
    out = {}
    for path in sorted(folder.glob("*.JPEG")):
        entry = decoded(path)
        image = Image.open(path).convert("RGB")
        entry["crops"] = [sha(crop(image, *c).tobytes())[:16] for c in PHOTO_CROPS]
        tensor = transform((224, 224), 0.875, "center", "bilinear", *IMAGENET)(image)
        entry["tensor"] = sha(tensor.contiguous().numpy().astype("<f4").tobytes())[:16]
        out[path.name] = entry
    return out


def write(name, key, value):
    lines = ",\n".join(json.dumps(v) if not isinstance(value, dict) else f"{json.dumps(v)}: {json.dumps(value[v])}"
                       for v in value)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    (HERE / name).write_text(
        f'{{"versions": {json.dumps(versions(name))},\n"{key}": {opening}\n{lines}\n{closing}}}\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=HERE / "../../../shared/data/photos")
    parser.add_argument("--order-only", action="store_true")
    parser.add_argument("--files-only", action="store_true")
    args = parser.parse_args()
    if args.order_only:
        assert int(PIL.__version__.split(".")[0]) <= 12, PIL.__version__
        write("crops_pillow12.json", "cases", crops(PORTRAITS))
        return
    FILES.mkdir(exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()
    for make in (jpegs, pngs, webps, gifs, bmps, tiffs, pnms, tgas, qois, icos, others, made):
        make()
    write("decode.json", "files", {p.name: decoded(p) for p in sorted(FILES.iterdir())})
    if not args.files_only:
        write("crops.json", "cases", crops())
        write("tensors.json", "cases", tensors())
        if args.photos.is_dir():
            write("photos.json", "photos", photos(args.photos))
    total = sum(p.stat().st_size for p in FILES.iterdir())
    print(f"{len(list(FILES.iterdir()))} files, {total} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
