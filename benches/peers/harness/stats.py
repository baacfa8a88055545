"""Figures from the raw times: medians, minima, paired ratios."""

from __future__ import annotations

import statistics


def summary(case: dict, baseline: str) -> dict[str, dict]:
    """For each engine of a case what the tables show; ratios are the engine's time over the baseline's, above 1 = slower."""
    base = case["engines"].get(baseline, {})
    return {name: engine(record, base) for name, record in case["engines"].items()}


def engine(record: dict, base: dict) -> dict:
    if record.get("error") or not record["turns"]:
        return {"error": record.get("error") or "no turn was finished"}
    times = [t for turn in record["turns"].values() for t in turn]
    found = {
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "forwards": len(times),
        "peak_bytes": record["rss"]["peak_bytes"],
        "before_load_bytes": record["rss"]["before_load_bytes"],
        "first_answer_ms": statistics.median(record["starts_ms"]) if record["starts_ms"] else None,
        "max_abs_diff": record["max_abs_diff"],
        "max_rel_diff": record["max_rel_diff"],
        "median_image_rel_diff": record.get("median_image_rel_diff"),
        "parked_cpu_share": record["parked_cpu_share"],
        "computes_in": record.get("computes_in"),
    }
    return found | ratios(record, base)


def ratios(record: dict, base: dict) -> dict:
    """Round by round the median of the turn against the baseline's; and the ratios of all medians and all minima, taken
    over the rounds that both were in."""
    shared = [n for n in record["turns"] if n in base.get("turns", {})]
    if base.get("error") or not shared:
        return {}
    mine, its = ([r["turns"][n] for n in shared] for r in (record, base))
    paired = [statistics.median(a) / statistics.median(b) for a, b in zip(mine, its)]
    flat = lambda turns: [t for turn in turns for t in turn]  # noqa: E731
    low, middle, high = quartiles(paired)
    return {
        "pairs": len(paired),
        "paired": middle,
        "paired_q1": low,
        "paired_q3": high,
        "of_medians": statistics.median(flat(mine)) / statistics.median(flat(its)),
        "of_minima": min(flat(mine)) / min(flat(its)),
    }


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
