#!/usr/bin/env python3
"""The Python package against what Python users have: timm on torch, ONNX Runtime, torchvision.

    python benches/python/run.py --photos ../shared/data/photos --wheel target/wheels/resnest_rs-*.whl

needs torch, timm, torchvision, onnxruntime, onnx, Pillow, numpy and the wheel in one environment. All engines take turns in one
process, on the same photos and the same weights (random, of timm's initialisation, the same for all), with as many threads
each; medians over the rounds, and ratios of the paired rounds. What is measured:

* import: `import resnest_rs` in fresh interpreters, against `pass`; size of the wheel.
* classify: the best five classes of eight JPEGs, resnest50d: from bytes to names. Peers decode with Pillow and prepare with
  timm's transform, one after the other and on a pool of threads; the better of the two counts.
* transform: `create_transform` on photos of 500x375, decoded already; and from the JPEG on.
* second: a second process with the same model: load and first answer, private memory of the weights.

Add --json FILE to keep the figures.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Work = Callable[[], Any]


def interleaved(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each work in each round; whose turn is first changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        for _ in range(3):
            work()
    names = list(works)
    for at in range(rounds):
        for name in names[at % len(names) :] + names[: at % len(names)]:
            start = time.perf_counter()
            works[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def report(title: str, times: dict[str, list[float]], ours: str) -> dict[str, Any]:
    """Prints medians, minima and the ratio of every other to `ours`."""
    print(f"\n{title}")
    print(f"  {'':34}{'median':>9}{'least':>9}{'ratio':>8}{'of least':>9}")
    rows = {}
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, times[ours]))
        least = min(own) / min(times[ours])
        print(f"  {name:34}{statistics.median(own):9.2f}{min(own):9.2f}{ratio:8.2f}{least:9.2f}")
        rows[name] = {"median_ms": statistics.median(own), "least_ms": min(own), "ratio": ratio, "ratio_least": least}
    return rows


def imports(rounds: int) -> dict[str, Any]:
    """Milliseconds that `import resnest_rs` adds to a fresh interpreter."""

    def run(code: str) -> Work:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    times = interleaved({"import resnest_rs": run("import resnest_rs"), "pass": run("pass")}, rounds)
    added = statistics.median(a - b for a, b in zip(times["import resnest_rs"], times["pass"]))
    print(f"\nimport: {added:.1f} ms more than a bare interpreter's {statistics.median(times['pass']):.1f}")
    return {"import_ms": added}


def checkpoint(folder: pathlib.Path) -> pathlib.Path:
    """A resnest50d of timm's random initialisation, with statistics of norms that are not all 0 and 1."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model("resnest50d").train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(8, 3, 96, 96))
    path = folder / "resnest50d.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


def classify(weights: pathlib.Path, jpegs: list[bytes], threads: int, rounds: int) -> dict[str, Any]:
    import numpy as np
    import onnxruntime
    import timm
    import torch
    from PIL import Image

    import resnest_rs

    torch.set_num_threads(threads)
    ours = resnest_rs.Classifier("resnest50d", checkpoint=weights, threads=threads, batch_size=8)
    model = timm.create_model("resnest50d", checkpoint_path=str(weights)).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    pool = ThreadPoolExecutor(threads)

    def prepared(data: bytes) -> Any:
        return transform(Image.open(io.BytesIO(data)).convert("RGB"))

    def torch_answers(network: Any, preparing: Any) -> Work:
        def work() -> Any:
            with torch.inference_mode():
                x = torch.stack(list(preparing(prepared, jpegs)))
                return network(x).softmax(1).topk(5)

        return work

    works: dict[str, Work] = {"resnest_rs": lambda: ours.classify(jpegs, 5)}
    ways = {"": map, ", pool": pool.map}
    for name, preparing in ways.items():
        works[f"timm + torch eager{name}"] = torch_answers(model, preparing)
    try:
        compiled = torch.compile(model)
        with torch.inference_mode():
            compiled(torch.zeros(8, 3, *transform.transforms[1].size))
        for name, preparing in ways.items():
            works[f"timm + torch.compile{name}"] = torch_answers(compiled, preparing)
    except Exception as error:  # no C++ compiler, say
        print(f"torch.compile left out: {type(error).__name__}: {str(error)[:200]}")
    onnx_file = weights.with_suffix(".onnx")
    with torch.inference_mode():
        torch.onnx.export(
            model, (torch.zeros(8, 3, 224, 224),), str(onnx_file), dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"],
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])

    def onnx_answers(preparing: Any) -> Work:
        def work() -> Any:
            x = np.stack([one.numpy() for one in preparing(prepared, jpegs)])
            logits = session.run(None, {"x": x})[0]
            return np.argsort(-logits, axis=1)[:, :5]

        return work

    for name, preparing in ways.items():
        works[f"ONNX Runtime{name}"] = onnx_answers(preparing)
    theirs = works["timm + torch eager"]().indices.numpy()
    same = [[one.index for one in answer] for answer in ours.classify(jpegs, 5)]
    assert (theirs == np.array(same)).all(), "not the same classes as timm's"
    times = interleaved(works, rounds)
    rows = report(f"classify, resnest50d, {len(jpegs)} JPEGs, {threads} threads, ms", times, "resnest_rs")
    best = min(row["ratio"] for name, row in rows.items() if name != "resnest_rs")
    print(f"  the best of the others takes {best:.2f} times as long")
    return {"rows": rows, "best": best}


def transform(photos: list[bytes], rounds: int) -> dict[str, Any]:
    import numpy as np
    import timm.data
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    import resnest_rs

    torch.set_num_threads(1)
    config = dict(
        input_size=(3, 224, 224), interpolation="bilinear", crop_pct=0.875, crop_mode="center",
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )
    ours = resnest_rs.create_transform(**config)
    theirs = timm.data.create_transform(**config)
    vision = v2.Compose([
        v2.Resize(256, antialias=True), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(config["mean"], config["std"]),
    ])
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in photos]
    arrays = [np.asarray(image) for image in images]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1).contiguous() for array in arrays]
    for image, data in zip(images, photos):
        expected = theirs(image).numpy()
        assert (ours(image) == expected).all() and (ours(data) == expected).all(), "not timm's pixels"

    def over(transform: Any, inputs: list[Any]) -> Work:
        return lambda: [transform(one) for one in inputs]

    decoded = interleaved({
        "resnest_rs on arrays": over(ours, arrays),
        "resnest_rs on Pillow images": over(ours, images),
        "timm on Pillow images": over(theirs, images),
        "torchvision v2 on tensors": over(vision, tensors),
    }, rounds)
    one = {name: [each / len(photos) for each in times] for name, times in decoded.items()}
    rows = report("transform of a decoded photo of 500x375, one thread, ms", one, "resnest_rs on Pillow images")
    encoded = interleaved({
        "resnest_rs on JPEG bytes": over(ours, photos),
        "timm, decoded by Pillow": over(lambda d: theirs(Image.open(io.BytesIO(d)).convert("RGB")), photos),
    }, rounds)
    one = {name: [each / len(photos) for each in times] for name, times in encoded.items()}
    return {"decoded": rows, "encoded": report("the same from the JPEG on, ms", one, "resnest_rs on JPEG bytes")}


SECOND = """
import json, os, sys, time
begun = time.perf_counter()
def private():
    rows = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    return sum(int(rows[key].split()[0]) for key in ("Private_Clean", "Private_Dirty")) / 1024
import resnest_rs
photo = open(sys.argv[2], "rb").read()
imported, before = time.perf_counter(), private()
classifier = resnest_rs.Classifier("resnest50d", checkpoint=sys.argv[1], threads=int(sys.argv[3]), batch_size=1)
loaded, weights = time.perf_counter(), private()
classifier.classify(photo)
first, all = time.perf_counter(), private()
print(json.dumps(dict(import_s=imported - begun, load_s=loaded - imported, first_s=first - loaded,
    start_to_answer_s=first - begun, private_before_mb=before, weights_mb=weights - before, total_mb=all)))
if len(sys.argv) > 4: sys.stdin.read()
"""


def second(weights: pathlib.Path, photo: pathlib.Path, threads: int, rounds: int) -> dict[str, Any]:
    """A process with the model while another has it, with and without the cache of packed weights."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (("with the cache", folder), ("without", "off")):
            environment = {**os.environ, "RESNEST_WEIGHTS_CACHE": cache}
            command = [sys.executable, "-c", SECOND, str(weights), str(photo), str(threads)]
            with subprocess.Popen(
                [*command, "stay"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as first:
                assert first.stdout and first.stdin
                begun = json.loads(first.stdout.readline())
                # What was found whole is remembered once it is two seconds old: docs/weights-cache.md.
                for _ in range(2):
                    subprocess.run(command, env=environment, check=True, capture_output=True)
                    time.sleep(3)
                runs = [
                    json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
                    for _ in range(rounds)
                ]
                first.stdin.close()
            middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            least = min(run["start_to_answer_s"] for run in runs)
            results[name] = {"first": begun, "median": middle, "least_s": least}
            print(
                f"\na second process, {name}: {middle['start_to_answer_s']:.3f} s from import to first answer (least {least:.3f}; "
                f"import {middle['import_s']:.3f}, load {middle['load_s']:.3f}, first answer {middle['first_s']:.3f}), "
                f"weights {middle['weights_mb']:.1f} MB private, {middle['total_mb']:.0f} MB in all; "
                f"the first process took {begun['start_to_answer_s']:.3f} s"
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=pathlib.Path, default=pathlib.Path("../shared/data/photos"))
    parser.add_argument("--wheel", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", nargs="*", default=["import", "classify", "transform", "second"])
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    files = sorted(args.photos.glob("*.[jJ]*"))
    figures: dict[str, Any] = {}
    if args.wheel:
        figures["wheel_mb"] = args.wheel.stat().st_size / 1e6
        print(f"wheel: {figures['wheel_mb']:.1f} MB")
    if "import" in args.only:
        figures["import"] = imports(args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        if {"classify", "second"} & set(args.only):
            weights = checkpoint(pathlib.Path(folder))
        if "second" in args.only:
            figures["second"] = second(weights, files[0], args.threads, max(5, args.rounds // 3))
        if "classify" in args.only:
            jpegs = [file.read_bytes() for file in files[:8]]
            figures["classify"] = classify(weights, jpegs, args.threads, args.rounds)
    if "transform" in args.only:
        from PIL import Image

        fitting = [file for file in files if Image.open(file).size == (500, 375)][:16]
        figures["transform"] = transform([file.read_bytes() for file in fitting], args.rounds)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
