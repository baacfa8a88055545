"""Opens what `resnest features` wrote with the libraries its users have, and holds it against timm's values.

    python tests/features/read_features.py FOLDER REFERENCE.safetensors

FOLDER holds x.npy, x.safetensors and x.parquet of the reference's images followed by one broken image; the reference is
make_reference.py's, with pre_logits recorded whole. Needs numpy, safetensors and pyarrow; neither timm nor torch.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
from safetensors import safe_open

folder, reference = Path(sys.argv[1]), sys.argv[2]
with safe_open(reference, "np") as file:
    expected = file.get_tensor("pre_logits")
    recorded = json.loads(file.metadata()["images"])
images, width = expected.shape

array = np.load(folder / "x.npy")
assert array.dtype == np.float32 and array.shape == (images + 1, width), (array.dtype, array.shape)
assert np.abs(array[:images] - expected).max() < 1e-5 * np.abs(expected).max()
assert np.isnan(array[images]).all()
with open(folder / "x.npy.files.csv", newline="") as file:
    listed = list(csv.DictReader(file))
assert [Path(row["file"]).name for row in listed[:images]] == recorded
assert [bool(row["error"]) for row in listed] == [False] * images + [True]

with safe_open(folder / "x.safetensors", "np") as file:
    assert np.array_equal(file.get_tensor("features"), array, equal_nan=True)
    assert file.get_tensor("valid").tolist() == [True] * images + [False]
    assert json.loads(file.metadata()["files"]) == [row["file"] for row in listed]
    assert file.metadata()["layer"] == "pre_logits"

table = pyarrow.parquet.read_table(folder / "x.parquet")
assert [str(field.type) for field in table.schema] == ["string", "list<element: float not null>", "string"], table.schema
rows = table.to_pylist()
assert [row["file"] for row in rows] == [row["file"] for row in listed]
assert np.array_equal(np.array([row["features"] for row in rows[:images]], dtype=np.float32), array[:images])
assert rows[images]["features"] is None and rows[images]["error"] == listed[images]["error"]
assert all(row["error"] is None for row in rows[:images])
metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items() if key != b"ARROW:schema"}
assert (metadata["model"], metadata["layer"], metadata["shape"]) == ("demo", "pre_logits", f"[{width}]"), metadata
print(f"{images} images of {width} features, opened by numpy {np.__version__}, pyarrow {pyarrow.__version__}")
