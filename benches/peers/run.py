#!/usr/bin/env python3
"""Measures this project beside every peer engine on the CPU, interleaved in one run. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import engines, environment, export, measure, models, report  # noqa: E402

WORK = environment.ROOT / "target" / "peers"


def arguments() -> argparse.Namespace:
    default = [*models.NATIVE_SIZES, "demo"]
    names = [*default, *models.FAMILY]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=names, default=default, metavar="NAME", help=" ".join(names))
    parser.add_argument("--batch", default=None, help="e.g. 1,8; without it: 1, and 8 too for resnest50d")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=list(engines.BY_NAME), metavar="NAME", help=" ".join(engines.BY_NAME))
    parser.add_argument("--baseline", choices=list(engines.BY_NAME), metavar="NAME", help="the engine that ratios are taken to; resnest")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="photos for int8; without it those of the shared folder")
    parser.add_argument("--export-only", action="store_true", help="make the files of every engine, measure nothing")
    parser.add_argument("--rounds", type=int, default=60, help="rounds a case")
    parser.add_argument("--seconds", type=float, default=240, help="of rounds a case, if --rounds are not done by then")
    parser.add_argument("--starts", type=int, default=5, help="fresh processes an engine for the time to the first answer")
    parser.add_argument("--turn-ms", type=float, default=50, help="counted forwards in a turn fill about this long")
    parser.add_argument("--timeout", type=float, default=900, help="seconds an engine may take for one answer")
    parser.add_argument("--set", action="append", default=[], metavar="ENGINE:KEY=VALUE", help="an option of one worker")
    parser.add_argument("--venv", type=Path, default=WORK / "venv", help="made if absent; pinned packages go in")
    parser.add_argument("--cache", type=Path, default=WORK / "models", help="exported models are kept here")
    parser.add_argument("--out", type=Path, default=WORK / "results", help="results.json, results.md, peers.svg, models.svg")
    parser.add_argument("--report-only", action="store_true", help="write tables and plots anew from OUT/results.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    environment.enter(args.venv)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.report_only:
        run(args)
    if not args.export_only:
        write_report(args.out, args.baseline)


def run(args: argparse.Namespace) -> None:
    """Builds, exports, measures; what is known is written after every case, so that a cut run keeps what it has."""
    chosen = [engines.BY_NAME[name] for name in args.engines or default_engines()]
    plan = cases(args)
    command = environment.build_command() if any(e.fmt == "resnest-int8" for e in chosen) else None
    for case in plan:
        export_case(case, sorted({e.fmt for e in chosen}), args.calibration, command)
    if args.export_only:
        return
    rust = environment.build_workers(WORK / "build", sorted({e.worker for e in chosen if e.is_rust}))
    logs = args.out / "logs"
    logs.mkdir(exist_ok=True)
    settings = measure.Settings(
        args.rounds, args.seconds, args.starts, args.turn_ms, args.timeout, logs, rust, getattr(args, "set")
    )
    results = preamble(args) | {"facts": {case.model: facts(case) for case in plan}, "cases": []}
    for case in plan:
        print(f"== {case.label}", file=sys.stderr)
        results["cases"].append(measure.measure(case, chosen, settings))
        results["load_after"] = load()
        (args.out / "results.json").write_text(json.dumps(results))
        write_report(args.out)


def default_engines() -> list[str]:
    return list(engines.BY_NAME)


def cases(args: argparse.Namespace) -> list[engines.Case]:
    known = models.all_models(environment.ROOT)
    found = []
    for name in args.models:
        batches = args.batch or ("1,8" if name == "resnest50d" else "1")
        for batch in map(int, batches.split(",")):
            if not 1 <= batch <= models.IMAGES:
                sys.exit(f"--batch {batch}: 1 to {models.IMAGES} images are stored")
            found.append(engines.Case(name, known[name].size, batch, args.threads, args.cache))
    return found


def export_case(case: engines.Case, formats: list[str], calibration: Path | None, resnest: Path | str | None) -> None:
    """The formats of the chosen engines. In a process of its own: converters are native code, and torch's memory must be gone before anything is timed."""
    print(f"exporting {case.label}", file=sys.stderr)
    command = [sys.executable, "-W", "ignore", "-m", "harness.export", case.model, str(case.batch), str(case.cache)]
    command += ["--formats", *formats]
    command += ["--calibration", str(calibration.resolve())] if calibration else []
    command += ["--resnest", str(resnest)] if resnest else []
    env = os.environ | {"PYTHONPATH": str(environment.HERE)}
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL)
    if not (export.folder(case.cache, case.model) / "facts.json").exists():
        sys.exit(f"the export of {case.model} ended with status {done.returncode} before its weights were written")


def facts(case: engines.Case) -> dict:
    return json.loads((export.folder(case.cache, case.model) / "facts.json").read_text())


def preamble(args: argparse.Namespace) -> dict:
    return {
        "machine": environment.machine(),
        "versions": environment.rust_versions() | environment.versions(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["python3", "benches/peers/run.py", *sys.argv[1:]]),
        "baseline": args.baseline or "resnest",
        "load_before": load(),
    }


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def write_report(out: Path, baseline: str | None = None) -> None:
    """Tables and plots of what was measured; ratios to the `baseline` that was asked for then, or to another."""
    from harness import plot

    results = json.loads((out / "results.json").read_text())
    results["baseline"] = baseline or results["baseline"]
    (out / "results.md").write_text(report.markdown(results))
    plot.draw(results, out)


if __name__ == "__main__":
    main()
