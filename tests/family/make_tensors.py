"""Every architecture's state dict, name by name, as timm 1.0.31 builds it; and the tags with their classes.

    python tests/family/make_tensors.py

Writes tests/family/tensors.txt.gz: `# architecture parameters`, then a line for each tensor with name, shape and dtype
(dtype left out where it is float32). Models are built on the meta device, without weights.
"""

import gzip

import timm
import torch

import reference


def listing(name):
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
    parameters = sum(p.numel() for p in model.parameters())
    yield f"# {name} {parameters}"
    for key, tensor in model.state_dict().items():
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        dtype = str(tensor.dtype).removeprefix("torch.")
        yield f"{key} {shape}" + ("" if dtype == "float32" else f" {dtype}")


if __name__ == "__main__":
    lines = [line for name in reference.architectures() for line in listing(name)]
    reference.FOLDER.mkdir(exist_ok=True)
    path = reference.FOLDER / "tensors.txt.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
    print(f"{len(lines)} lines, {path.stat().st_size} bytes")
