"""The two figures for docs/benchmarks.md: one case in full, and all models as ratios. SVG, readable on light and dark pages."""

from __future__ import annotations

from pathlib import Path

from harness import report, stats

OURS, THEIRS = "#c2410c", "#64748b"
MIB = 2**20


def draw(results: dict, out: Path) -> list[Path]:
    """Writes what the results allow; the paths written."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    # A fixed salt and no date: the same results give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "peers"
    written = []
    shown = [case for case in results["cases"] if alive(case, results["baseline"])]
    if shown:
        written.append(bars(headline(shown), results, out / "peers.svg"))
    if len(shown) > 1:
        written.append(dots(shown, results, out / "models.svg"))
    return written


def alive(case: dict, baseline: str) -> dict[str, dict]:
    """The rows of the engines that finished."""
    return {name: row for name, row in stats.summary(case, baseline).items() if "error" not in row}


def headline(cases: list[dict]) -> list[dict]:
    """resnest50d if it was measured, else the first model; its batches."""
    model = "resnest50d" if any(c["model"] == "resnest50d" for c in cases) else cases[0]["model"]
    return [case for case in cases if case["model"] == model][:2]


def bars(cases: list[dict], results: dict, path: Path) -> Path:
    """Horizontal bars: milliseconds an image for each batch (median, with a tick at the minimum), then peak memory."""
    from matplotlib import pyplot

    rows = [alive(case, results["baseline"]) for case in cases]
    names = sorted(rows[0], key=lambda n: -rows[0][n]["median_ms"])
    figure, axes = pyplot.subplots(1, len(cases) + 1, sharey=True, figsize=(4 + 3.2 * len(cases), 0.34 * len(names) + 1.3))
    for axis, case, found in zip(axes, cases, rows):
        values = [found[n]["median_ms"] / case["batch"] if n in found else 0 for n in names]
        bar(axis, names, values, f"ms an image, batch {case['batch']} (| = minimum)")
        lowest = [found[n]["min_ms"] / case["batch"] if n in found else 0 for n in names]
        axis.plot(lowest, range(len(names)), "|", color="white", markeredgewidth=1.5, markersize=8, clip_on=True)
    memory = [rows[0][n]["peak_bytes"] / MIB for n in names]
    bar(axes[-1], names, memory, f"peak memory, MB, batch {cases[0]['batch']}")
    case = cases[0]
    figure.suptitle(f"{case['model']} @{case['size']}, {case['threads']} threads, {results['machine']['cpu']}", fontsize=9)
    return save(figure, path)


def bar(axis, names: list[str], values: list[float], heading: str) -> None:
    """One panel; a bar far beyond the others is cut, its figure tells."""
    limit = 4 * sorted(values)[len(values) // 2] or 1
    colours = [OURS if name.startswith("resnest") else THEIRS for name in names]
    axis.barh([report.title(n) for n in names], [min(v, limit) for v in values], color=colours, height=0.7)
    axis.set_xlim(0, 1.18 * min(max(values), limit))
    for place, value in enumerate(values):
        text = report.number(value) if value else "failed"
        axis.text(min(value, limit), place, f" {text}", va="center", fontsize=8)
    axis.set_title(heading, fontsize=9, loc="left")


def dots(cases: list[dict], results: dict, path: Path) -> Path:
    """For each case and engine the median paired ratio with its quartiles; the line at 1 is this project."""
    from matplotlib import pyplot

    baseline = results["baseline"]
    tables = [(report.label(case), alive(case, baseline)) for case in cases]
    names = [n for n in report.BY_NAME if n != baseline and any("paired" in rows.get(n, {}) for _, rows in tables)]
    palette = pyplot.get_cmap("tab20")
    figure, axis = pyplot.subplots(figsize=(8, 0.45 * len(tables) + 1.6))
    for place, name in enumerate(names):
        points = [(rows[name], y) for y, (_, rows) in enumerate(tables) if "paired" in rows.get(name, {})]
        middles = [row["paired"] for row, _ in points]
        spans = [[row["paired"] - row["paired_q1"] for row, _ in points], [row["paired_q3"] - row["paired"] for row, _ in points]]
        heights = [y + 0.05 * (place - len(names) / 2) for _, y in points]
        axis.errorbar(middles, heights, xerr=spans, fmt="o", markersize=4, linewidth=1, color=palette(place), label=report.title(name))
    axis.axvline(1, color=OURS, linewidth=2)
    axis.set_yticks(range(len(tables)), [text for text, _ in tables])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axis.minorticks_off()
    axis.set_xlabel(f"time over {report.title(baseline)}'s in the same round (median and quartiles; right = slower)")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return save(figure, path)


def save(figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, facecolor="white", bbox_inches="tight")
    return path
