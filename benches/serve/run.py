#!/usr/bin/env python3
"""Compares `resnest serve` with other servers on this machine, in one run. See README.md."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import check  # noqa: E402
import environment  # noqa: E402
import latency  # noqa: E402
import load  # noqa: E402
import report  # noqa: E402
import saturation  # noqa: E402
import servers  # noqa: E402
import start  # noqa: E402
from environment import HERE, ROOT, WORK, Setup  # noqa: E402

PARTS = ("start", "latency", "saturation", "load", "check")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" ".join(PARTS))
    names = list(servers.BY_NAME)
    default = [server.name for server in servers.ALL if server.default]
    parser.add_argument("--servers", nargs="+", choices=names, default=default, metavar="NAME", help=" ".join(names))
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resnest", type=Path, help="this command; without it, it is built")
    parser.add_argument("--library", type=Path, help="the example `serve_library`; without it, it is built")
    parser.add_argument("--clients", default="1,2,4,8,16,32,64")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="counted, of every turn of the load part")
    parser.add_argument("--requests", type=int, default=2000, help="of the latency part")
    parser.add_argument(
        "--quick", action="store_true", help="only to see that all of it works: the figures mean nothing"
    )
    parser.add_argument("--out", type=Path, default=WORK / "results", help="results.json, results.md, serve.svg, logs/")
    parser.add_argument("--report-only", action="store_true", help="write table and plot anew from OUT/results.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    setup = make(args)
    if not args.report_only:
        environment.prepare(setup, build=args.resnest is None)
        run(args, setup)
    write(setup)


def make(args: argparse.Namespace) -> Setup:
    resnest = args.resnest or ROOT / "target" / "release" / "resnest"
    if args.library:
        link = WORK / "bin" / "library"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(args.library.resolve())
    args.out.mkdir(parents=True, exist_ok=True)
    return Setup(resnest.resolve(), args.photos.resolve(), WORK, args.out.resolve(), args.threads)


def run(args: argparse.Namespace, setup: Setup) -> None:
    """Every part, its result written as soon as it is known, so that a run that is cut keeps what it has."""
    results = {
        "machine": environment.machine(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["python3", "benches/serve/run.py", *sys.argv[1:]]),
        "threads": setup.threads,
        "load_before": environment.load_average(),
    }
    quick = args.quick
    chosen = [servers.BY_NAME[name] for name in args.servers]
    steps = {
        "start": lambda: starts(setup, chosen, quick),
        "latency": lambda: {"latency": latency.measure(setup, 100 if quick else args.requests)},
        "saturation": lambda: {"saturation": saturation.measure(setup, 1 if quick else 3, 4 if quick else 20)},
        "load": lambda: loads(args, setup, chosen),
    }
    for part, step in steps.items():
        if part in args.parts or (part == "load" and "check" in args.parts):
            print(f"== {part}", file=sys.stderr)
            results |= step()
            results["load_after"] = environment.load_average()
            (setup.out / "results.json").write_text(json.dumps(results))
            write(setup)


def starts(setup: Setup, chosen: list[servers.Server], quick: bool) -> dict:
    """Start and memory; of our start only if we are among the chosen."""
    found = {"start": start.ours(setup, 2 if quick else 10)} if servers.BY_NAME["resnest"] in chosen else {}
    return found | {"alone": [start.alone(setup, server, 3 if quick else 12) for server in chosen]}


def loads(args: argparse.Namespace, setup: Setup, chosen: list[servers.Server]) -> dict:
    """What needs all servers at once: growing load, equal load, the check of the tool."""
    clients = tuple(map(int, args.clients.split(",")))
    plan = load.Plan(clients, args.seconds, args.rounds, rate_rounds=args.rounds)
    if args.quick:
        plan = load.Plan((1, 8), 2, 1, (0.5,), 3, 1)
    running, found = [], {}
    try:
        for server in chosen:
            running.append(server.start(setup))
            running[-1].wait(setup.photo())
        check.agree(setup, running)
        for one in running:
            one.process.freeze()
        if "load" in args.parts:
            turns = load.closed(setup, running, plan)
            found["growing"] = load.pooled(turns, "clients")
            rate = load.capacity(found["growing"])
            even = load.equal(setup, running, plan, rate)
            rates = {turn["share"]: turn["rate"] for turn in even}
            found["equal"] = [row | {"rate": rates[row["share"]]} for row in load.pooled(even, "share")]
            found["client_cpu"] = max(turn["client_cpu"] for turn in turns + even)
        if "check" in args.parts:
            found["check"] = check.against_wrk(setup, running[:2], 3 if args.quick else 10)
    finally:
        for one in running:
            one.process.stop()
    return found


def write(setup: Setup) -> None:
    """Table and plot; the plot in the environment that has matplotlib."""
    results = json.loads((setup.out / "results.json").read_text())
    (setup.out / "results.md").write_text(report.markdown(results))
    if "growing" in results:
        files = [setup.out / "results.json", setup.out / "serve.svg"]
        subprocess.run([str(part) for part in (setup.python(), HERE / "plot.py", *files)], check=True)


if __name__ == "__main__":
    main()
