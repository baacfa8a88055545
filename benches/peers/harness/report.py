"""The Markdown tables. Everything in them comes from `results.json`; an engine that failed is listed with its words."""

from __future__ import annotations

from harness import stats
from harness.engines import BY_NAME

MIB = 2**20
# Of the largest |logit|: beyond rounding of any algorithm in this precision, so another function was computed. In int8 an
# image that exceeds the ranges of the calibration is clipped: single ones are half of the largest logit away.
WRONG = {"f32": 1e-2, "bf16": 3e-2, "int8": 7e-1}


def markdown(results: dict) -> str:
    """The whole report."""
    baseline = results["baseline"]
    parts = ["# This project beside its peers on the CPU", ""]
    parts += place(results) + [""]
    if len(results["cases"]) > 1:
        parts += overview(results["cases"], baseline) + [""]
    for case in results["cases"]:
        parts += case_table(case, baseline, results) + [""]
    parts += method(results) + [""]
    return "\n".join(parts)


def place(results: dict) -> list[str]:
    machine = results["machine"]
    lines = [
        f"Machine: {machine['cpu']}, {machine['cores']} cores ({machine['simd']}), {machine['caches']}, "
        f"{machine['memory']}, Linux {machine['kernel']}.",
        f"Measured {results['date']}; load average of the machine before the first case {results['load_before']}, "
        f"after the last {results['load_after']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in results["versions"].items()) + ".",
        f"Command: `{results['command']}`",
    ]
    return [line for pair in zip(lines, [""] * len(lines)) for line in pair][:-1]


def overview(cases: list[dict], baseline: str) -> list[str]:
    """Models down, engines across: median ms, and in brackets the median paired ratio."""
    names = [name for name in BY_NAME if any(name in case["engines"] for case in cases)]
    lines = [f"Median ms a batch (median paired ratio to {title(baseline)}; above 1 = slower than it):", ""]
    lines.append("| model | " + " | ".join(title(n) for n in names) + " |")
    lines.append("|---|" + "---:|" * len(names))
    for case in cases:
        rows = stats.summary(case, baseline)
        lines.append(f"| {label(case)} | " + " | ".join(cell(rows.get(n)) for n in names) + " |")
    return lines


def cell(row: dict | None) -> str:
    if row is None:
        return ""
    if "error" in row:
        return "failed"
    ratio = f" ({row['paired']:.2f})" if "paired" in row else ""
    return number(row["median_ms"]) + ratio


def case_table(case: dict, baseline: str, results: dict) -> list[str]:
    """One case in full, the fastest engine first, failures last."""
    rows = stats.summary(case, baseline)
    fine = sorted((n for n in rows if "error" not in rows[n]), key=lambda n: rows[n]["median_ms"])
    lines = [f"## {label(case)}, {case['threads']} threads", ""]
    lines.append(
        f"| engine | median ms | min ms | paired ratio to {title(baseline)} [quartiles] | of medians / minima "
        "| forwards | peak MB | start → first answer s | max abs Δlogit (of max abs logit) |"
    )
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    lines += [case_row(name, rows[name]) for name in fine]
    failed = [f"| {title(n)} | failed: {short(rows[n]['error'])} |" + " |" * 7 for n in rows if "error" in rows[n]]
    facts = results["facts"][case["model"]]
    scale = (
        f"torch's own f32 is {facts['torch_f32_against_f64']:.1e} from its f64 here; the largest |logit| is "
        f"{facts['max_abs_logit']:.1f}."
    )
    return lines + failed + ["", f"{case['rounds']} rounds. {scale}"] + low_precision(case)


def low_precision(case: dict) -> list[str]:
    """What ours in bf16 and int8 are measured by: peers of the same precision, ours in f32, and the memory of that."""
    lines = []
    for ours, precision in (("resnest-bf16", "bf16"), ("resnest-int8", "int8")):
        rows = stats.summary(case, ours)
        if "error" in rows.get(ours, {"error": "absent"}):
            continue
        for name in (n for n in rows if n != ours and (n == "resnest" or engine_precision(n) == precision)):
            row = rows[name]
            if "paired" in row:
                memory = f"{rows[ours]['peak_bytes'] / row['peak_bytes']:.2f}"
                ratio = f"{row['paired']:.2f} | {row['of_medians']:.2f} / {row['of_minima']:.2f}"
                lines.append(f"| {title(ours)} | {called(name, row)} | {ratio} | {memory} |")
    if not lines:
        return []
    heading = "| faster | than | paired | of medians / minima | peak memory, share of that one's |"
    return ["", heading, "|---|---|---:|---:|---:|", *lines]


def engine_precision(name: str) -> str:
    return BY_NAME[name].precision if name in BY_NAME else "f32"


def called(name: str, row: dict) -> str:
    """The engine's title, and the precision that it says it computes in where it chose that itself."""
    chose = row.get("computes_in") if name in BY_NAME and BY_NAME[name].options.get("precision") == "default" else None
    return f"{title(name)} ({chose})" if chose else title(name)


def case_row(name: str, row: dict) -> str:
    start = f"{row['first_answer_ms'] / 1e3:.2f}" if row["first_answer_ms"] else ""
    ratio = medians = ""
    if "paired" in row:
        ratio = f"{row['paired']:.2f} [{row['paired_q1']:.2f}–{row['paired_q3']:.2f}]"
        medians = f"{row['of_medians']:.2f} / {row['of_minima']:.2f}"
    cells = [called(name, row), number(row["median_ms"]), number(row["min_ms"]), ratio, medians, str(row["forwards"])]
    wrong = " **wrong**" if row["max_rel_diff"] > WRONG[engine_precision(name)] else ""
    median = row.get("median_image_rel_diff")
    typical = f"; median image {median:.0e}" if median is not None and engine_precision(name) == "int8" else ""
    away = f"{row['max_abs_diff']:.1e} ({row['max_rel_diff']:.0e}{typical}){wrong}"
    cells += [f"{row['peak_bytes'] / MIB:.0f}", start, away]
    return "| " + " | ".join(cells) + " |"


def method(results: dict) -> list[str]:
    """What the columns mean, and what was measured about the measurement."""
    shares = [
        (row["parked_cpu_share"], name)
        for case in results["cases"]
        for name, row in stats.summary(case, results["baseline"]).items()
        if row.get("parked_cpu_share") is not None
    ]
    noisy = f" The most a parked worker took was {max(shares)[0]:.2%} of a core ({title(max(shares)[1])})." if shares else ""
    return [
        "All engines are loaded at once, each in a process of its own, and take turns in an order shuffled every round; "
        "a turn is one forward that does not count and then the counted ones. The others are parked meanwhile."
        f"{noisy} Ratios pair the turns of one round. A slow engine comes only every few rounds.",
        "",
        "Peak MB is VmHWM of the engine's process at the end, Python and its libraries included where there is Python; "
        "the start is the median of fresh processes with the files in the page cache, from before the process is made "
        "to the first logits (imports, loading, one forward). Weights are random and conditioned, the same for all; "
        "times are from a ready NCHW input in f32 to logits in f32; all compute in f32 whose name does not say otherwise. "
        "An engine is called wrong whose logits are further from torch's than "
        + ", ".join(f"{most:.0e} in {precision}" for precision, most in WRONG.items())
        + " of the largest. ncnn has no batch dimension and shares the images of a batch out among its threads.",
    ]


def label(case: dict) -> str:
    return f"{case['model']} @{case['size']}, batch {case['batch']}"


def title(name: str) -> str:
    return BY_NAME[name].title if name in BY_NAME else name


def number(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 1000 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def short(error: str) -> str:
    """The line of an error that says so, or the last one, fit for a table."""
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in reversed(lines) if "error:" in line.lower()), lines[-1]).replace("|", "/")[:200]
