"""One figure: throughput against p99 latency as load grows, a curve for each server. SVG, for light and dark pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from servers import BY_NAME

COLOURS = {
    "resnest": "#c2410c",
    "triton": "#4d7c0f",
    "litserve": "#7c3aed",
    "openvino": "#0369a1",
    "openvino-latency": "#38bdf8",
}
GRAY = "#64748b"


def draw(results: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    # A fixed salt and no date: the same results give the same file.
    matplotlib.rcParams |= {
        "svg.hashsalt": "serve",
        "text.color": GRAY,
        "axes.labelcolor": GRAY,
        "axes.edgecolor": GRAY,
    }
    matplotlib.rcParams |= {"xtick.color": GRAY, "ytick.color": GRAY}
    from matplotlib import pyplot, ticker

    figure, axis = pyplot.subplots(figsize=(7.5, 4.2))
    for name in dict.fromkeys(row["server"] for row in results["growing"]):
        curve(axis, name, sorted((r for r in results["growing"] if r["server"] == name), key=lambda r: r["clients"]))
    axis.set(xlabel="images a second", ylabel="p99 latency, ms", xlim=(0, None), yscale="log")
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(axis="both", color=GRAY, alpha=0.15)
    axis.legend(frameon=False, fontsize=8, loc="upper left", labelcolor=GRAY)
    title = f"resnest50d @224, JPEG photos by POST, f32, {results['threads']} threads; numbers: clients"
    axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


def curve(axis, name: str, rows: list[dict]) -> None:
    across, up = [row["images_per_s"] for row in rows], [row["p99_ms"] for row in rows]
    width = 2.2 if name == "resnest" else 1.3
    axis.plot(across, up, marker="o", markersize=4, linewidth=width, color=COLOURS.get(name), label=BY_NAME[name].label)
    # The peers' curves lie side by side: the ends of each are enough.
    for row in rows if name == "resnest" else (rows[0], rows[-1]):
        at = (row["images_per_s"], row["p99_ms"])
        axis.annotate(str(row["clients"]), at, (5, -3), textcoords="offset points", fontsize=7, color=GRAY)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
