"""The servers compared: how each is started, and where it takes a photo."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from environment import HERE, Setup
from processes import Process

PATIENCE = 120  # seconds until a server that was started has to answer


@dataclass(frozen=True)
class Server:
    """One way to serve resnest50d."""

    name: str
    label: str
    command: Callable[[Setup, int], list]
    path: str = "/classify"
    headers: tuple[str, ...] = ()
    default: bool = True

    def start(self, setup: Setup) -> Running:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(part) for part in self.command(setup, port)]
        return Running(self, port, Process(command, setup.out / "logs" / f"{self.name}.log"))


@dataclass
class Running:
    """A server that was started."""

    server: Server
    port: int
    process: Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.server.path}"

    def classify(self, photo: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = dict(line.split(": ") for line in self.server.headers) | {"Content-Type": "image/jpeg"}
        try:
            connection.request("POST", self.server.path, photo, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait(self, photo: bytes) -> float:
        """Seconds from the start to the first answer."""
        while True:
            try:
                if self.classify(photo)[0] == 200:
                    return time.perf_counter() - self.process.begin
            except OSError:
                pass
            if not self.process.alive() or time.perf_counter() - self.process.begin > PATIENCE:
                self.process.stop()
                raise RuntimeError(f"{self.server.name} does not answer: {self.process.log.read_text()[-2000:]}")
            time.sleep(0.005)

    def best(self, photo: bytes) -> list[int]:
        """The classes it answers for a photo, best first; every server puts them into the last list of its answer."""
        status, body = self.classify(photo)
        if status != 200:
            raise RuntimeError(f"{self.server.name} answers {status}: {body[:200]!r}")
        return [int(row["index"]) for row in json.loads(body[body.rindex(b"[") :])]

    def metric(self, name: str) -> float:
        """The sum of a Prometheus metric's values over its labels (ours only)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def resnest(setup: Setup, port: int) -> list:
    model = f"resnest50d=local-dir:{setup.hub}"
    options = ["--model", model, "--http", f"127.0.0.1:{port}", "--grpc", "off", "--threads", setup.threads]
    return [setup.resnest, "serve", *options]


def openvino(hint: str) -> Callable[[Setup, int], list]:
    program = HERE / "peers" / "fastapi_openvino.py"
    return lambda setup, port: [setup.python(), program, setup.onnx, port, setup.threads, hint]


def litserve(workers: int, batch: int, wait_ms: float) -> Callable[[Setup, int], list]:
    program = HERE / "peers" / "litserve_onnx.py"
    options = [workers, batch, wait_ms]
    return lambda setup, port: [setup.python(), program, setup.onnx, port, setup.threads, *options]


def triton(instances: int) -> Callable[[Setup, int], list]:
    program = HERE / "peers" / "triton" / "launch.py"

    def command(setup: Setup, port: int) -> list:
        return [
            setup.python("venv-triton"),
            program,
            setup.onnx,
            port,
            setup.threads,
            instances,
            setup.work / f"triton-{instances}",
        ]

    return command


# Triton takes a body as it is when it is told that no JSON is in front of it.
RAW = ("Inference-Header-Content-Length: 0",)

ALL = [
    Server("resnest", "resnest serve", resnest),
    Server("triton", "Triton + ONNX Runtime", triton(1), "/v2/models/resnest50d/infer", RAW),
    Server("litserve", "LitServe + ONNX Runtime", litserve(1, 8, 10)),
    Server("openvino", "FastAPI + OpenVINO (THROUGHPUT)", openvino("THROUGHPUT")),
    Server("openvino-latency", "FastAPI + OpenVINO (LATENCY)", openvino("LATENCY")),
    # Settings that were tried for the peers and are not the better ones on two cores (README.md).
    Server("triton-2", "Triton, 2 instances", triton(2), "/v2/models/resnest50d/infer", RAW, default=False),
    Server("litserve-2", "LitServe, 2 workers", litserve(2, 8, 10), default=False),
    Server("litserve-4", "LitServe, batches of 4", litserve(1, 4, 10), default=False),
    Server("litserve-single", "LitServe, 2 workers, no batches", litserve(2, 1, 0), default=False),
]
BY_NAME = {server.name: server for server in ALL}
