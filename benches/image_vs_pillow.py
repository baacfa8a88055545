"""Side by side with Pillow + torchvision: a 4000x3000 JPEG to timm's 224 tensor.

    cargo build --release --features demo --example preprocess
    python benches/image_vs_pillow.py [--rounds 15] [--photo FILE]

Ours is `Classifier::preprocess`, as every command calls it (`benches/preprocess.rs`).
Both take the encoded bytes from memory to a normalised (3, 224, 224) f32 tensor on one thread. They run
in turns within one session, so that a change of the machine's load meets both. The photo is scaled up and
saved 4:2:0 at quality 90, baseline; `--progressive` saves a progressive file instead.
"""

import argparse
import io
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from timm.data import create_transform  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/preprocess"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photo", type=Path, default=ROOT / "../shared/data/photos/n01443537_goldfish.JPEG")
    parser.add_argument("--progressive", action="store_true")
    parser.add_argument("--noise", type=float, default=6.0,
                        help="standard deviation of noise added after the scaling, as a sensor would")
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 3000))
    args = parser.parse_args()
    torch.set_num_threads(1)
    transform = create_transform((3, 224, 224), crop_pct=0.875, interpolation="bilinear")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        photo = Image.open(args.photo).convert("RGB").resize(args.size, Image.Resampling.BICUBIC)
        pixels = np.asarray(photo, np.float32)
        pixels = pixels + np.random.default_rng(0).normal(0, args.noise, pixels.shape)
        photo = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        photo.save(path, quality=90, subsampling=2, progressive=args.progressive)
        data = path.read_bytes()
        server = subprocess.Popen([target()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ours():
            server.stdin.write(f"{path}\n")
            server.stdin.flush()
            answer = server.stdout.readline().split(" ", 1)
            assert answer[0] == "ok", answer
            return int(answer[1]) / 1e6

        def pillow():
            start = time.perf_counter()
            transform(Image.open(io.BytesIO(data)).convert("RGB"))
            return (time.perf_counter() - start) * 1e3

        def pillow_decode():
            start = time.perf_counter()
            Image.open(io.BytesIO(data)).convert("RGB")
            return (time.perf_counter() - start) * 1e3

        runs = {"ours": ours, "Pillow + torchvision": pillow, "Pillow decode alone": pillow_decode}
        times = {name: [] for name in runs}
        for round_ in range(args.rounds + 2):
            for name, run in runs.items():
                elapsed = run()
                if round_ >= 2:
                    times[name].append(elapsed)
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        server.stdin.close()
        server.wait()

    print(f"{args.size[0]}x{args.size[1]} JPEG, {len(data) / 1e6:.1f} MB, one thread each, "
          f"{args.rounds} interleaved rounds")
    for name, values in times.items():
        values.sort()
        print(f"{name:24} median {statistics.median(values):7.1f} ms   best {values[0]:7.1f} ms")
    ratio = statistics.median(times["ours"]) / statistics.median(times["Pillow + torchvision"])
    best = min(times["ours"]) / min(times["Pillow + torchvision"])
    print(f"ours / Pillow + torchvision: {ratio:.2f} by the medians, {best:.2f} by the best runs")
    print(f"peak memory of our process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
