"""Two checks of the comparison itself: that all servers give the same answers, and that `wrk`, which everybody knows,
measures what `load.rs` does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import load
from environment import HERE, Setup
from servers import Running

CLIENTS = 8


def agree(setup: Setup, running: list[Running], count: int = 10) -> None:
    """The best class of some photos, of every server; the order of near ties behind it may differ."""
    for path in sorted(setup.photos.iterdir())[:count]:
        found = {one.server.name: one.best(path.read_bytes()) for one in running}
        if len({best[0] for best in found.values()}) > 1:
            sys.exit(f"{path.name}: the servers do not agree: {found}")


def against_wrk(setup: Setup, running: list[Running], seconds: float) -> list[dict]:
    """One load by both tools; nothing where wrk is not installed."""
    if not shutil.which("wrk"):
        return []
    listing = setup.work / "photos.txt"
    listing.write_text("".join(f"{path}\n" for path in sorted(setup.photos.iterdir())))
    rows = []
    for one in running:
        taken = load.turn(setup, one, CLIENTS, seconds, 2)
        ours = {"images_per_s": taken["images_per_s"], "p99_ms": load.percentile(taken["latencies_ms"], 0.99)}
        rows.append({"server": one.server.name, "wrk": wrk(one, str(listing), seconds), "load": ours})
        print(f"check: {rows[-1]}", file=sys.stderr)
    return rows


def wrk(one: Running, listing: str, seconds: float) -> dict:
    env = os.environ | {"PHOTOS": listing, "HEADERS": "\n".join(one.server.headers)}
    script = str(HERE / "wrk.lua")
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds:.0f}s", "--timeout", "60s", "-s", script, one.url]
    one.process.thaw()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    one.process.freeze()
    return json.loads(done.stdout.splitlines()[-1])
