"""From nothing to an answer, and how much memory it takes: every server alone, its files in the page cache."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import latency
import load
from environment import Setup
from processes import Peak, field, tree
from servers import BY_NAME, Server

CLIENTS = 32


def ready(setup: Setup, server: Server, starts: int) -> dict:
    """Seconds from the start of our process to its line on standard output; the first start, which fills the page
    cache, does not count."""
    times = []
    for _ in range(starts + 1):
        begin = time.perf_counter()
        command = [str(part) for part in server.command(setup, 0)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        line = child.stdout.readline()
        times.append(time.perf_counter() - begin)
        child.terminate()
        child.wait(30)
        if b"ready" not in line:
            raise RuntimeError(f"{server.name} said {line!r} instead of being ready")
    counted = times[1:]
    return {"median_s": statistics.median(counted), "min_s": min(counted), "max_s": max(counted), "starts": starts}


def ours(setup: Setup, starts: int) -> dict:
    return {"demo": ready(setup, latency.DEMO, starts), "resnest50d": ready(setup, BY_NAME["resnest"], starts)}


def alone(setup: Setup, server: Server, seconds: float) -> dict:
    """The first answer of a server whose files were read before, then its memory under load."""
    running = server.start(setup)
    try:
        first = running.wait(setup.photo())
        root = running.process.child.pid
        with Peak(root) as loaded:
            raw = load.generate(setup, running, CLIENTS, seconds)
        processes = tree(root)
        # Of one process the kernel knows the peak itself, the start included. Of several it does not know what they
        # share, which a sum would count more than once.
        peak = field(root, "status", "VmHWM:") if len(processes) == 1 else loaded.bytes
    finally:
        running.process.stop()
    errors = sum(record[2] != 200 for record in raw["records"])
    row = {"server": server.name, "first_answer_s": first, "peak_bytes": peak, "processes": len(processes)}
    print(f"alone: {row}", file=sys.stderr)
    return row | {"errors": errors}
