"""What timm's own validate.py says of 57 small images, and a folder of those and 3 broken ones.

    python tests/validate/make_validate.py VALIDATE_PY

VALIDATE_PY is validate.py from timm's repository, which the package does not hold. Writes tests/validate/images (the
folder) and tests/validate/timm.json (tables of validate.py for several options, timm's order of files, and figures that
timm does not have, computed here from timm's logits by numpy).

The images are parts of the two free photos in crates/resnest/demo/photos, in changed colours. A class folder is what the
demo model takes an image for in two of three cases, else another class: accuracy is then neither 0 nor 100, and the
margins between neighbouring classes are wide enough for float rounding not to matter.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
from PIL import Image, ImageEnhance, ImageOps
from timm.data import create_transform, resolve_data_config
from timm.data.readers.reader_image_folder import ReaderImageFolder

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "crates/resnest/demo"
OUT = ROOT / "tests/validate"
MODEL = f"local-dir:{DEMO}"
GOOD = 57
# Between the best class and the next, and between the fifth and the sixth.
MARGIN = 0.05
SPELLINGS = ["{}.jpg", "img{}.JPG", "Img-{:03}.jpeg", "a{}.b.png"]

# Files that try timm's order: numbers by value, case, depth, endings that are no image's.
AWKWARD = [
    "cat/10.jpg", "cat/9.jpg", "cat/A2.jpg", "cat/a10.jpg", "cat/b/1.png", "Dog 2/x.jpg", "dog 10/x.jpg", "dog 9/x.JPEG",
    "cat/a010b.jpg", "cat/a9b.jpg", "zebra/deep/er/0001.png", "zebra/0002.png", "007/x.jpg", "8/x.jpg", "cat/ü.jpg",
    "cat/notes.txt", "cat/-1.jpg", "cat/x y.jpg", "cat/99999999999999999999999.jpg", "cat/100000000000000000000000.jpg",
]


def demo_model():
    model = timm.create_model(MODEL, pretrained=True).eval()
    return model, create_transform(**resolve_data_config({}, model=model))


@torch.inference_mode()
def logits(model, transform, path):
    image = Image.open(path).convert("RGB")
    return model(transform(image)[None])[0].double().numpy()


def pictures(rng):
    """Endless parts of the photos, in other colours."""
    photos = [Image.open(path).convert("RGB") for path in sorted((DEMO / "photos").glob("*.png"))]
    while True:
        photo = rng.choice(photos)
        width, height = (rng.randint(60, 280) for _ in "wh")
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
        part = photo.crop((left, top, left + width, top + height))
        bands = list(part.split())
        if rng.random() < 0.5:
            rng.shuffle(bands)
        part = Image.merge("RGB", bands)
        if rng.random() < 0.15:
            part = ImageOps.invert(part)
        part = ImageEnhance.Contrast(part).enhance(rng.uniform(0.5, 1.6))
        part = part.rotate(rng.choice([0, 90, 180, 270]), expand=True)
        part.thumbnail((rng.randint(40, 72),) * 2)
        yield part


def make_images(rng, model, transform, names):
    shutil.rmtree(OUT / "images", ignore_errors=True)
    for name in names:
        (OUT / "images" / name).mkdir(parents=True)
    taken = {name: 0 for name in names}
    done = 0
    for picture in pictures(rng):
        scratch = OUT / "scratch.png"
        png = rng.random() < 0.15
        picture.save(scratch, "PNG" if png else "JPEG", **({} if png else {"quality": 88}))
        row = logits(model, transform, scratch)
        order = np.argsort(-row)
        if min(row[order[0]] - row[order[1]], row[order[4]] - row[order[5]]) < MARGIN:
            continue
        # Right, among five, or not; of the wrong ones the class that has the fewest images yet.
        choice = order[[slice(1), slice(1), slice(1), slice(1), slice(1, 5), slice(5, 10)][done % 6]]
        label = min((names[index] for index in choice), key=taken.get)
        # Few of what the model sees everywhere, so that every class has some.
        if taken[label] >= 9:
            continue
        number = 3 * taken[label] + 1
        spelling = SPELLINGS[3] if png else SPELLINGS[taken[label] % 3]
        taken[label] += 1
        shutil.move(scratch, OUT / "images" / label / spelling.format(number))
        done += 1
        if done == GOOD:
            break
    assert all(taken.values()), taken


def make_broken():
    images = OUT / "images"
    whole = next(path for path in sorted((images / "cat").iterdir()) if path.suffix != ".png").read_bytes()
    (images / "cat" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "dog" / "2-empty.png").write_bytes(b"")
    (images / "horse" / "words.jpg").write_text("This is no image.\n")


def copy(names, files, into, name_of=lambda index, file: file.name):
    for index, file in enumerate(files):
        target = Path(into) / file.parent.name / name_of(index, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def timm_says(script, folder, *options):
    result = Path(folder).parent / "result.json"
    command = [sys.executable, script, folder, "--model", MODEL, "--device", "cpu", "-b", "8", "-j", "1"]
    command += ["--results-file", result, "--results-format", "json", *options]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    table = json.loads(result.read_text())
    return {"options": [Path(o).name if os.path.sep in str(o) else str(o) for o in options], **table, "model": "demo"}


def tables(script, files, names, rng):
    """validate.py under several options, each on a folder that holds what it needs."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        copy(names, files, scratch / "all")
        found["plain"] = timm_says(script, scratch / "all")
        found["resized"] = timm_says(
            script, scratch / "all", "--img-size", "64", "--crop-pct", "0.8", "--interpolation", "bicubic"
        )
        found["squash"] = timm_says(script, scratch / "all", "--crop-mode", "squash", "--crop-pct", "0.9")
        found["test_pool"] = timm_says(script, scratch / "all", "--img-size", "96", "--test-pool")
        shuffled = names[:]
        rng.shuffle(shuffled)
        (scratch / "map.txt").write_text("\n".join(shuffled) + "\n")
        found["class_map"] = timm_says(script, scratch / "all", "--class-map", scratch / "map.txt")
        found["class_map"]["map"] = shuffled
        valid = ["cat", "dog", "horse", "ship", "truck", "bird"]
        copy(names, [file for file in files if file.parent.name in valid], scratch / "some")
        indices = sorted(names.index(name) for name in valid)
        (scratch / "valid.txt").write_text("".join(f"{index}\n" for index in indices))
        found["valid_labels"] = timm_says(script, scratch / "some", "--valid-labels", scratch / "valid.txt")
        found["valid_labels"]["valid"] = indices
        copy(names, files, scratch / "real", lambda index, _: f"ILSVRC2012_val_{index + 1:08d}.JPEG")
        real = [sorted(rng.sample(range(len(names)), rng.choice([0, 1, 2, 3]))) for _ in files]
        (scratch / "real.json").write_text(json.dumps(real))
        found["real_labels"] = timm_says(script, scratch / "real", "--real-labels", scratch / "real.json")
        found["real_labels"]["real"] = real
    return found


def figures(rows, targets):
    """What validate.py does not say: each by its definition."""
    rows, targets = np.array(rows), np.array(targets)
    exp = np.exp(rows - rows.max(1, keepdims=True))
    probabilities = exp / exp.sum(1, keepdims=True)
    best, confidence = probabilities.argmax(1), probabilities.max(1)
    right = best == targets
    classes = rows.shape[1]
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (targets, best), 1)
    edges = np.linspace(0, 1, 16)
    ece = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return {
        "loss": float(-np.log(probabilities[np.arange(len(targets)), targets]).mean()),
        "ece": float(ece),
        "confusion": confusion.tolist(),
        "worst": [int(i) for i in sorted(np.flatnonzero(~right), key=lambda i: -confidence[i])[:5]],
        "worst_confidence": sorted(confidence[~right].tolist(), reverse=True)[:5],
    }


def awkward_order():
    """timm's order of awkward names, with a linked folder among them."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in AWKWARD:
            path = Path(scratch) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        os.symlink(Path(scratch) / "8", Path(scratch) / "linked", target_is_directory=True)
        reader = ReaderImageFolder(scratch)
        classes = sorted(reader.class_to_idx, key=reader.class_to_idx.get)
        samples = [(str(Path(path).relative_to(scratch)), target) for path, target in reader.samples]
    return {"made": AWKWARD, "link": ["linked", "8"], "classes": classes, "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validate_py", type=Path)
    script = parser.parse_args().validate_py.resolve()
    rng = random.Random(4)
    model, transform = demo_model()
    names = list(model.pretrained_cfg["label_names"])
    OUT.mkdir(parents=True, exist_ok=True)
    make_images(rng, model, transform, names)
    reader = ReaderImageFolder(str(OUT / "images"))
    files = [Path(path) for path, _ in reader.samples]
    targets = [target for _, target in reader.samples]
    rows = [logits(model, transform, path) for path in files]
    make_broken()
    record = {
        "made_by": {
            "timm": timm.__version__,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "python": platform.python_version(),
            "validate.py": hashlib.sha256(script.read_bytes()).hexdigest(),
        },
        "files": [str(path.relative_to(OUT / "images")) for path in files],
        "targets": targets,
        "logits": [[round(float(v), 6) for v in row] for row in rows],
        "broken": ["cat/cut.jpg", "dog/2-empty.png", "horse/words.jpg"],
        "figures": figures(rows, targets),
        "tables": tables(script, files, names, rng),
        "awkward": awkward_order(),
    }
    (OUT / "timm.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
