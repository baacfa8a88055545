"""What an idle server adds to the library's own time: the demo model, one request at a time on a kept connection.

`library.rs` calls the library and asks the server in turns, with the same photos, and with a pause before each, so that
either finds the machine as idle as the other.
"""

from __future__ import annotations

import json
import subprocess

from environment import Setup
from load import percentile
from servers import Server


def demo(setup: Setup, port: int) -> list:
    options = ["--model", "demo", "--http", f"127.0.0.1:{port}", "--grpc", "off", "--threads", setup.threads]
    return [setup.resnest, "serve", *options]


DEMO = Server("resnest-demo", "resnest serve, demo", demo)


def measure(setup: Setup, requests: int) -> dict:
    running = DEMO.start(setup)
    try:
        running.wait(setup.photo())
        command = [setup.library, "latency", "demo", setup.photos, running.url, requests, setup.threads]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    finally:
        running.process.stop()
    return summary(json.loads(done.stdout))


def summary(raw: dict) -> dict:
    """Percentiles of both, and of the difference within each pair, which has the noise of both in it."""
    library, server = (sorted(raw[key]) for key in ("library_ms", "server_ms"))
    pairs = sorted(there - here for here, there in zip(raw["library_ms"], raw["server_ms"], strict=True))
    row = {"requests": len(pairs)}
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        here, there = percentile(library, share), percentile(server, share)
        row[name] = {"library": here, "server": there, "added": there - here, "paired": percentile(pairs, share)}
    return row
