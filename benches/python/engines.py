"""Throughput of Ray Data, Spark and Daft with ArrowClassifier on this machine, against the command on the same images.

    python3 benches/python/engines.py --photos ../shared/data/photos \
        --ray venv/ray/bin/python --spark venv/spark/bin/python --daft venv/daft/bin/python

Each engine has a Python of its own, with the wheel, the engine and pyarrow in it (crates/resnest-py/tests/engines/
conftest.py names versions); one that is not given is left out. What runs is the examples' `answer`: shards of Parquet in,
Parquet out, all CPUs. The photos are taken over and over until there are --images of them; the command gets the same ones
as files. The model is --model with random weights (conditioned, so that activations neither vanish nor explode), written
from the repository's list of timm's tensors, unless --checkpoint has others.

A turn is a process of its own: it starts the engine and is timed over a job of the first shards and over one of all of
them, both after a first job of the former kind that does not count (workers, network, caches of code). Turns are
interleaved, in another order each round. The table has medians over rounds:

  images/s   that a longer job has more: the images that the second has more by the seconds that it takes longer, so
             that the starting of a job's workers, which a job of hours does not feel, is not in it
  of it      the ratio to the command's in the same round, median (and least to greatest)
  CPU ms     an image, likewise, of all processes of the engine: its workers, its JVM or daemons, its driver
  of it      the command's CPU time divided by that; other work on the machine disturbs it less than the first
  job s      of the job of all images
  ready s    from the process's start to the end of the first job

Where other work runs beside, an engine of more processes gets more of the CPUs and only the second ratio means something;
it does not see CPUs that wait.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import math
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "crates" / "resnest-py" / "examples"
ENGINES = ("ray", "spark", "daft")
#: What a turn says.
Turn = dict[str, Any]
#: The examples' `answer`.
Answer = Callable[[list[str], str], None]
SEED = 20261130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared" / "data" / "photos")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--shard", type=int, default=100, help="images a shard (100)")
    parser.add_argument("--few", type=int, default=4, help="shards of the short job (4)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="resnest50d")
    parser.add_argument("--checkpoint", type=Path, help="weights; random ones without it")
    parser.add_argument("--embeddings", action="store_true", help="`resnest features` in place of `resnest classify`")
    parser.add_argument("--resnest", type=Path, default=ROOT / "target" / "release" / "resnest", help="the command")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "engines", help="shards, weights, answers, results")
    for engine in ENGINES:
        parser.add_argument(f"--{engine}", type=Path, help=f"the Python that has {engine}")
    parser.add_argument("--turn", choices=ENGINES, help=argparse.SUPPRESS)
    return parser.parse_args()


# What a turn does, in the engine's own Python.


def turn(args: argparse.Namespace) -> None:
    """Prints the seconds of getting ready and of the job."""
    begun = float(os.environ["ENGINES_BEGUN"])
    answer = {"ray": ray_answer, "spark": spark_answer, "daft": daft_answer}[args.turn](args)
    shards, out = sorted(map(str, (args.work / "shards").glob("*.parquet"))), args.work / "out" / args.turn
    shutil.rmtree(out, ignore_errors=True)
    few = shards[: args.few]
    answer(few, f"{out}/warm")
    ready = time.time() - begun
    short = timed(lambda: answer(few, f"{out}/few"))
    long = timed(lambda: answer(shards, f"{out}/all"))
    import pyarrow.parquet as pq

    files = list(Path(f"{out}/all").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file, columns=["error"])["error"].to_pylist()]
    failed = sum(error is not None for error in rows)
    assert len(rows) == args.images and not failed, f"{len(rows)} rows, {failed} failed"
    print(json.dumps({"ready": ready, "short": short, "long": long}))


def timed(job: Callable[[], None]) -> dict[str, float]:
    """Seconds by the clock and of CPUs."""
    clock = CpuClock()
    start = time.time()
    job()
    return {"seconds": time.time() - start, "cpu": clock.stop()}


class CpuClock:
    """CPU time of every process with this one's ENGINES_BEGUN in its environment, daemons and their workers included.

    Looks four times a second, so that of a process that ends a quarter of a second at most is missed. Linux.
    """

    def __init__(self) -> None:
        self.mark = f"ENGINES_BEGUN={os.environ['ENGINES_BEGUN']}".encode()
        self.seen: dict[tuple[int, int], int] = {}
        self.ours: dict[int, bool] = {}
        self.look()
        self.before = dict(self.seen)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.done.wait(0.25):
            self.look()

    def look(self) -> None:
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            try:
                # A process may yet become another (exec), but then by one of ours.
                if not self.ours.get(pid):
                    self.ours[pid] = self.mark in Path(f"/proc/{pid}/environ").read_bytes()
                if self.ours[pid]:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    self.seen[pid, int(fields[19])] = int(fields[11]) + int(fields[12])
            except OSError:
                self.ours.pop(pid, None)

    def stop(self) -> float:
        """Seconds since the beginning."""
        self.done.set()
        self.thread.join()
        self.look()
        ticks = sum(value - self.before.get(process, 0) for process, value in self.seen.items())
        return ticks / os.sysconf("SC_CLK_TCK")


def classifier(args: argparse.Namespace) -> Any:
    from resnest_rs.batch import ArrowClassifier

    wanted = {"predictions": not args.embeddings, "embeddings": args.embeddings}
    return ArrowClassifier(args.model, checkpoint=str(args.checkpoint), **wanted)


def ray_answer(args: argparse.Namespace) -> Answer:
    import ray
    import ray_data

    ray.init(include_dashboard=False, logging_level="ERROR")
    return lambda shards, out: ray_data.answer(shards, out, classifier(args))


def spark_answer(args: argparse.Namespace) -> Answer:
    import spark

    session = spark.session(f"local[{os.cpu_count()},4]")
    session.sparkContext.setLogLevel("ERROR")
    return lambda shards, out: spark.answer(session, shards, out, classifier(args))


def daft_answer(args: argparse.Namespace) -> Answer:
    import daft_data

    return lambda shards, out: daft_data.answer(shards, out, classifier(args))


# The one who measures.


def prepare(args: argparse.Namespace) -> None:
    """Weights, shards and files of the same images, made once."""
    args.work.mkdir(parents=True, exist_ok=True)
    if args.checkpoint is None:
        args.checkpoint = args.work / f"{args.model}-{SEED}.safetensors"
        if not args.checkpoint.exists():
            random_weights(args.model, args.checkpoint)
    stamp = args.work / "made.json"
    made = {"photos": str(args.photos.resolve()), "images": args.images, "shard": args.shard}
    if stamp.exists() and json.loads(stamp.read_text()) == made:
        return
    files = sorted(path for path in args.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    for folder in ("photos", "shards"):
        shutil.rmtree(args.work / folder, ignore_errors=True)
        (args.work / folder).mkdir()
    for number in range(args.images):
        source = files[number % len(files)]
        (args.work / "photos" / f"{number:06}{source.suffix}").symlink_to(source.resolve())
    python = next(getattr(args, engine) for engine in ENGINES if getattr(args, engine))
    words = [python, EXAMPLES / "make_shards.py", args.work / "photos", args.work / "shards", "--rows", args.shard]
    subprocess.run([str(word) for word in words], check=True)
    stamp.write_text(json.dumps(made))


def random_weights(model: str, path: Path) -> None:
    """A checkpoint of `model` with seeded weights: He's for convolutions, 1 for norms but the last of each block, whose
    0.2 keeps the residual sum from growing. Only the standard library: 27 million numbers take half a minute."""
    import array
    import random

    draw = random.Random(SEED)
    pool = array.array("f", (draw.gauss(0, 1) for _ in range(1_000_003)))
    header, parts, offset = {}, [], 0
    for name, shape in tensors(model):
        count = math.prod(shape)
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) >= 2:
            scale = math.sqrt((2 if len(shape) == 4 else 0.1) / math.prod(shape[1:]))
            start = draw.randrange(len(pool))
            whole = (pool[start:] + pool[:start]) * (count // len(pool) + 1)
            values = array.array("f", (value * scale for value in whole[:count]))
        else:
            last = name.endswith((".bn3.weight", "downsample.1.weight"))
            one = 0.2 if last else float(name.endswith(("weight", "running_var")))
            values = array.array("f", [one]) * count
        size = 4 * count
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        parts.append(values.tobytes())
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_suffix(".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    part.rename(path)


def tensors(model: str) -> list[tuple[str, tuple[int, ...]]]:
    """timm's names and shapes, as tests/family has them."""
    found, inside = [], False
    with gzip.open(ROOT / "tests" / "family" / "tensors.txt.gz", "rt") as lines:
        for line in lines:
            words = line.split()
            if words[:1] == ["#"]:
                inside = words[1] == model
            elif inside and words:
                found.append((words[0], () if words[1] == "scalar" else tuple(map(int, words[1].split("x")))))
    if not found:
        raise SystemExit(f"tests/family/tensors.txt.gz does not have {model}: give --checkpoint")
    return found


def command(args: argparse.Namespace) -> Turn:
    """The command over the files of the first shards, and over all."""
    files = sorted((args.work / "photos").iterdir())
    return {"ready": 0.0, "short": run_command(args, files[: args.few * args.shard]), "long": run_command(args, files)}


def run_command(args: argparse.Namespace, files: list[Path]) -> dict[str, float]:
    words = [args.resnest, "features" if args.embeddings else "classify", *files, "--quiet"]
    words += ["--model", args.model, "--checkpoint", args.checkpoint]
    words += ["--out", args.work / "features.parquet"] if args.embeddings else ["--format", "jsonl"]
    start, before = time.time(), os.times()
    with open(args.work / "answers.jsonl", "wb") as out:
        subprocess.run([str(word) for word in words], check=True, stdout=out)
    after = os.times()
    cpu_seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.time() - start, "cpu": cpu_seconds}


def engine(args: argparse.Namespace, name: str) -> Turn:
    words = [getattr(args, name), __file__, "--turn", name, "--work", args.work, "--images", args.images, "--few", args.few]
    words += ["--model", args.model, "--checkpoint", args.checkpoint] + ["--embeddings"] * args.embeddings
    # The examples are modules here, of workers too.
    environment = {**os.environ, "ENGINES_BEGUN": str(time.time()), "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(EXAMPLES)}
    with open(args.work / f"{name}.log", "wb") as log:
        done = subprocess.run([str(word) for word in words], env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    # An engine may die on its way out, when all has been said.
    last = next((line for line in reversed(done.stdout.splitlines()) if line.startswith('{"ready"')), None)
    if last is None:
        raise SystemExit(f"{name} ended with {done.returncode}: see {args.work / f'{name}.log'}")
    found: Turn = json.loads(last)
    return found


def report(args: argparse.Namespace, rounds: list[dict[str, Turn]]) -> str:
    """The table, as Markdown."""
    more = args.images - args.few * args.shard

    def median(name: str, take: Callable[[Turn], float]) -> float:
        return statistics.median(take(each[name]) for each in rounds)

    lines = [f"{args.model}, {'embeddings' if args.embeddings else 'predictions'}, {args.images} photos, {len(rounds)} rounds, "
             f"{os.cpu_count()} CPUs ({cpu()}), load {os.getloadavg()[0]:.1f}", ""]
    lines += ["| | images/s | of it | CPU ms | of it | job s | ready s |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name in rounds[0]:
        speed, cost = (median(name, lambda each, what=what: marginal(each, what)) for what in ("seconds", "cpu"))
        shares = [share([marginal(each["command"], what) / marginal(each[name], what) for each in rounds])
                  for what in ("seconds", "cpu")]
        job, ready = median(name, lambda each: each["long"]["seconds"]), median(name, lambda each: each["ready"])
        cells = [f"{more / speed:.1f}", shares[0], f"{1000 * cost / more:.1f}", shares[1], f"{job:.1f}", f"{ready:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def marginal(each: Turn, what: str) -> float:
    """What the long job took more than the short one."""
    return each["long"][what] - each["short"][what]


def share(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def cpu() -> str:
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def main() -> None:
    args = arguments()
    if args.turn:
        turn(args)
        return
    turns: dict[str, Callable[[argparse.Namespace], Turn]] = {"command": command}
    turns |= {name: functools.partial(engine, name=name) for name in ENGINES if getattr(args, name)}
    prepare(args)
    rounds: list[dict[str, Turn]] = []
    for number in range(args.rounds):
        names = list(turns)
        order = names[number % len(names):] + names[: number % len(names)]
        took = {}
        for name in order:
            took[name] = turns[name](args)
            print(f"round {number}: {took[name]}", file=sys.stderr)
        rounds.append({name: took[name] for name in names})
        # after every round, so that a cut run keeps what it has
        (args.work / "results.json").write_text(json.dumps(rounds))
        (args.work / "results.md").write_text(report(args, rounds) + "\n")
    print(report(args, rounds))


if __name__ == "__main__":
    main()
