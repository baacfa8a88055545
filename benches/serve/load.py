"""Throughput and latency of all servers as load grows, and at equal load; the servers take turns within one run.

All of them are started once and frozen; one at a time is thawed, warmed by requests that do not count, and measured.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass

from environment import Setup
from servers import Running


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seconds: float = 5  # counted, of each turn with clients that wait for their answers
    rounds: int = 2
    shares: tuple[float, ...] = (0.5, 0.8)  # arrival rates, as a part of what the best peer can do
    rate_seconds: float = 12
    rate_rounds: int = 2


def closed(setup: Setup, running: list[Running], plan: Plan) -> list[dict]:
    """Turns with 1, 2, 4 … clients, each of which sends its next photo when the last is answered."""
    turns = []
    order = random.Random(setup.seed)
    for number in range(plan.rounds):
        for clients in plan.clients:
            for one in order.sample(running, len(running)):
                # As long as the slowest server takes until its queue is as long as it will be.
                warmup = 1.5 + 0.05 * clients
                turns.append(turn(setup, one, clients, plan.seconds, warmup) | {"clients": clients})
                show(f"round {number + 1}, {clients} clients", turns[-1])
    return turns


def equal(setup: Setup, running: list[Running], plan: Plan, capacity: float) -> list[dict]:
    """Turns in which as many photos a second arrive at every server, whether it keeps up or not."""
    turns = []
    order = random.Random(setup.seed + 1)
    for number in range(plan.rate_rounds):
        for share in plan.shares:
            for one in order.sample(running, len(running)):
                rate = share * capacity
                taken = turn(setup, one, 64, plan.rate_seconds, 2, rate)
                turns.append(taken | {"share": share, "rate": rate})
                show(f"round {number + 1}, {rate:.1f} images/s", turns[-1])
    return turns


def turn(setup: Setup, one: Running, clients: int, seconds: float, warmup: float, rate: float = 0) -> dict:
    """One server under one load; the others are frozen."""
    one.process.thaw()
    time.sleep(0.2)
    try:
        raw = generate(setup, one, clients, warmup + seconds, rate)
    finally:
        one.process.freeze()
    return {"server": one.server.name} | summary(raw, warmup, warmup + seconds, rate > 0)


def generate(setup: Setup, one: Running, clients: int, seconds: float, rate: float = 0) -> dict:
    command = [setup.load, one.url, setup.photos, clients, seconds, rate, *one.server.headers]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def summary(raw: dict, begin: float, end: float, arrivals: bool) -> dict:
    """What counts of one turn: answers that came within the window; of arrivals, those that arrived in it."""
    records = raw["records"]
    instant = 0 if arrivals else 1
    counted = [record for record in records if begin <= record[instant] < end]
    good = [record for record in counted if record[2] == 200]
    return {
        "images_per_s": len(good) / (end - begin),
        "latencies_ms": sorted(round(1000 * (stop - start), 3) for start, stop, _ in good),
        "errors": len(counted) - len(good),
        "failures": sorted({record[2] for record in counted if record[2] != 200}),
        "client_cpu": raw["client_cpu_s"] / max(stop for _, stop, _ in records),
    }


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    if not ordered:
        return float("nan")
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def pooled(turns: list[dict], key: str) -> list[dict]:
    """The rounds of each server and load together: throughput is their mean, percentiles are of all latencies."""
    rows = []
    for server in dict.fromkeys(turn["server"] for turn in turns):
        for value in sorted({turn[key] for turn in turns}):
            same = [turn for turn in turns if turn["server"] == server and turn[key] == value]
            latencies = sorted(latency for turn in same for latency in turn["latencies_ms"])
            rates = [turn["images_per_s"] for turn in same]
            rows.append(
                {
                    "server": server,
                    key: value,
                    "images_per_s": sum(rates) / len(rates),
                    "rounds": rates,
                    "p50_ms": percentile(latencies, 0.5),
                    "p99_ms": percentile(latencies, 0.99),
                    "answers": len(latencies),
                    "errors": sum(turn["errors"] for turn in same),
                }
            )
    return rows


def capacity(rows: list[dict], ours: str = "resnest") -> float:
    """Images a second of the best peer at its best load."""
    return max(row["images_per_s"] for row in rows if row["server"] != ours)


def show(what: str, turn: dict) -> None:
    p50, p99 = (percentile(turn["latencies_ms"], share) for share in (0.5, 0.99))
    text = f"{turn['images_per_s']:6.1f} images/s, p50 {p50:7.1f}, p99 {p99:7.1f} ms, {turn['errors']} errors"
    print(f"{what:28} {turn['server']:18} {text}", file=sys.stderr)
