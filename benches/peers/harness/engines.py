"""The engines that are compared: what each is called, what it reads and which worker runs it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from harness import environment, export


@dataclass(frozen=True)
class Engine:
    """`worker` is a Python file under workers/ or the name of a Rust binary; `fmt` a key of `export.artifact`."""

    name: str
    title: str
    fmt: str
    worker: str
    package: str  # whose version the table states
    options: dict[str, str] = field(default_factory=dict)
    precision: str = "f32"  # f32, bf16 or int8: what it may compute in, and so how far its logits may be from torch's

    @property
    def is_rust(self) -> bool:
        return not self.worker.endswith(".py")


ENGINES = [
    Engine("resnest", "resnest", "safetensors", "resnest", "resnest"),
    Engine("resnest-exact", "resnest, exact", "safetensors", "resnest", "resnest", {"precision": "exact"}),
    Engine("resnest-bf16", "resnest, bf16", "safetensors", "resnest", "resnest", {"precision": "bf16"}, "bf16"),
    Engine("resnest-int8", "resnest, int8", "resnest-int8", "resnest", "resnest", {"precision": "int8"}, "int8"),
    Engine("candle", "plain candle", "safetensors", "resnest", "candle-core", {"path": "plain"}),
    Engine("onnxruntime", "ONNX Runtime", "onnx", "onnxruntime_worker.py", "onnxruntime"),
    Engine("onnxruntime-int8", "ONNX Runtime, int8", "onnx-int8", "onnxruntime_worker.py", "onnxruntime", {}, "int8"),
    Engine("openvino", "OpenVINO", "openvino", "openvino_worker.py", "openvino"),
    Engine("openvino-default", "OpenVINO, default", "openvino", "openvino_worker.py", "openvino", {"precision": "default"}, "bf16"),
    Engine("openvino-int8", "OpenVINO, int8", "openvino-int8", "openvino_worker.py", "openvino", {"precision": "default"}, "int8"),
    Engine("ncnn", "ncnn", "ncnn", "ncnn_worker.py", "ncnn"),
    Engine("mnn", "MNN", "mnn", "mnn_worker.py", "MNN"),
    Engine("torch-eager", "torch, eager", "safetensors", "torch_worker.py", "torch", {"mode": "eager"}),
    Engine("torch-jit", "torch, jit frozen", "torchscript", "torch_worker.py", "torch", {"mode": "jit"}),
    Engine("torch-compile", "torch, compiled + freezing", "safetensors", "torch_worker.py", "torch", {"mode": "compile"}),
    Engine("tract", "tract", "onnx", "tract", "tract-onnx"),
    Engine("rten", "rten", "onnx", "rten", "rten"),
]
BY_NAME = {engine.name: engine for engine in ENGINES}


@dataclass(frozen=True)
class Case:
    """One network at one batch size."""

    model: str
    size: int
    batch: int
    threads: int
    cache: Path  # where the exports lie

    @property
    def label(self) -> str:
        return f"{self.model} @{self.size}, batch {self.batch}"


def command(engine: Engine, case: Case, rust: dict[str, Path | str], overrides: list[str]) -> list[str]:
    """The worker's command line. `overrides`: `ENGINE:KEY=VALUE` from `--set`."""
    base = export.folder(case.cache, case.model)
    program = [str(rust[engine.worker])] if engine.is_rust else [sys.executable, str(environment.HERE / "workers" / engine.worker)]
    words = [*program, "--artifact", str(export.artifact(case.cache, case.model, case.batch, engine.fmt))]
    words += ["--input", str(base / "input.f32"), "--batch", str(case.batch), "--size", str(case.size)]
    words += ["--threads", str(case.threads)]
    chosen = engine.options | dict(o.split(":", 1)[1].split("=", 1) for o in overrides if o.split(":", 1)[0] == engine.name)
    for key, value in chosen.items():
        words += ["--set", f"{key}={value}"]
    return words


def surroundings(threads: int, cache: Path) -> dict[str, str]:
    """The same environment for all. Waiting is left to each engine's own default (libgomp spins for a few milliseconds,
    which torch and ncnn profit from between layers): the driver lets every engine settle before the next one's turn, and
    measures what a parked worker still takes."""
    count = str(threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RTEN_NUM_THREADS")
    # torch.compile's start is given with its cache warm; the cold start is minutes of C++ compilation.
    cached = {"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), "TORCHINDUCTOR_FX_GRAPH_CACHE": "1"}
    return dict(os.environ) | {name: count for name in names} | cached
