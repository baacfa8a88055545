"""The plots of docs/ from what the commands wrote. Needs numpy, matplotlib and pyarrow.

    resnest features CIFAR10-TEST-FOLDER --model demo --out features.parquet
    python docs/plots.py features features.parquet docs/features.png

    resnest verify demo --reference ref.safetensors --format json > fast.json      # likewise --precision exact, --unfused
    python docs/plots.py verify fast.json exact.json unfused.json docs/verify.svg
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet


def discriminant_plane(x, y):
    """x in the two directions that set the classes y furthest apart (Fisher's), with a little ridge."""
    mean, width = x.mean(0), x.shape[1]
    within, between = np.zeros((width, width)), np.zeros((width, width))
    for label in np.unique(y):
        rows = x[y == label]
        centred, shift = rows - rows.mean(0), rows.mean(0) - mean
        within += centred.T @ centred
        between += len(rows) * np.outer(shift, shift)
    within += np.eye(width) * 1e-3 * np.trace(within) / width
    values, vectors = np.linalg.eig(np.linalg.solve(within, between))
    return (x - mean) @ vectors[:, np.argsort(-values.real)[:2]].real


def features(path, out):
    rows = [row for row in pyarrow.parquet.read_table(path).to_pylist() if row["features"]]
    names = [Path(row["file"]).parent.name for row in rows]
    classes = sorted(set(names))
    labels = np.array([classes.index(name) for name in names])
    plane = discriminant_plane(np.array([row["features"] for row in rows]), labels)
    figure, axes = plt.subplots(figsize=(7, 4.6), dpi=110)
    for label, name in enumerate(classes):
        points = plane[labels == label]
        axes.scatter(points[:, 0], points[:, 1], s=2, alpha=0.6, linewidths=0, color=f"C{label}", label=name)
    axes.set(xticks=[], yticks=[])
    axes.legend(markerscale=5, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(out, pil_kwargs={"optimize": True})


def verify(*paths):
    *reports, out = paths
    figure, axes = plt.subplots(figsize=(7, 3))
    for path in reports:
        report = json.loads(Path(path).read_text())
        stages = [stage for stage in report["stages"] if stage["error_to_f64"] is not None]
        names = [stage["stage"] for stage in stages]
        axes.plot(names, [stage["error_to_f64"] for stage in stages], marker="o", label=f"resnest, {report['precision']}")
    theirs = [stage["reference_error_to_f64"] for stage in stages]
    axes.plot(names, theirs, marker="x", color="k", linestyle="--", label="PyTorch")
    axes.set(ylabel="relative error to f64", ylim=(0, None))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    {"features": features, "verify": verify}[sys.argv[1]](*sys.argv[2:])
