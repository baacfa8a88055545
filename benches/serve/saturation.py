"""How much of the machine `resnest serve` turns into answers: its throughput at saturation against the bare network's.

`resnest bench` gives the network's time for a batch as large as those that the server forms; decoding a photo costs CPU
time too, measured through the library on one thread. A server that did nothing else would need the sum of both.
"""

from __future__ import annotations

import json
import subprocess
import sys

import load
from environment import Setup
from servers import BY_NAME, Running

CLIENTS = 32


def measure(setup: Setup, rounds: int, seconds: float) -> dict:
    """Server and bench in turns, so that a change of the machine's speed meets both."""
    running = BY_NAME["resnest"].start(setup)
    try:
        running.wait(setup.photo())
        running.process.freeze()
        decode_ms = decode(setup)
        turns = [round_of(setup, running, seconds) | {"decode_ms": decode_ms} for _ in range(rounds)]
    finally:
        running.process.stop()
    mean = {key: sum(turn[key] for turn in turns) / len(turns) for key in turns[0]}
    return mean | {"clients": CLIENTS, "threads": setup.threads, "share": share(setup, mean), "rounds": turns}


def round_of(setup: Setup, running: Running, seconds: float) -> dict:
    running.process.thaw()
    before = [running.metric(f"resnest_batch_images_{part}") for part in ("sum", "count")]
    taken = load.turn(setup, running, CLIENTS, seconds, 3)
    running.process.thaw()
    after = [running.metric(f"resnest_batch_images_{part}") for part in ("sum", "count")]
    running.process.freeze()
    batch = (after[0] - before[0]) / (after[1] - before[1])
    found = {"images_per_s": taken["images_per_s"], "batch": batch, "bench": bench(setup, round(batch), seconds / 2)}
    print(f"saturation: {found}", file=sys.stderr)
    return found


def share(setup: Setup, mean: dict) -> float:
    """Of what the machine could do: seconds that a photo needs at least, over the seconds that it took."""
    needed = 1 / mean["bench"] + mean["decode_ms"] / 1000 / setup.threads
    return mean["images_per_s"] * needed


def bench(setup: Setup, batch: int, seconds: float) -> float:
    """Images a second of the network alone."""
    command = [setup.resnest, "bench", "--model", f"local-dir:{setup.hub}", "--batch-size", batch]
    command += ["--threads", setup.threads, "--duration", seconds, "--format", "json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]["images_per_second"]


def decode(setup: Setup) -> float:
    """Milliseconds of one thread from a JPEG's bytes to the network's input, the mean of all photos."""
    command = [str(setup.library), "decode", f"local-dir:{setup.hub}", str(setup.photos), "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["decode_ms"]
