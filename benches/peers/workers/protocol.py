"""What every Python worker says and hears; the Rust workers speak the same (worker/src/protocol.rs).

The driver writes one command a line, the worker answers with one JSON object a line:
    load     builds the engine           {"import_ms", "load_ms"}, and what the engine says of itself, as "computes_in"
    run N    N forwards, one after another  {"times_ms": [...]}
    logits   of the last forward         {"logits": [...]}
    rss      peak resident memory so far {"peak_bytes", "before_load_bytes"}
    quit
Between commands the worker is blocked in a read: it is parked. An error is {"error": "..."} and ends the worker.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import traceback


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True, help="the network in this engine's format")
    parser.add_argument("--input", required=True, help="raw f32 images, (8, 3, size, size)")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="options of one engine")
    args = parser.parse_args()
    args.options = dict(pair.split("=", 1) for pair in args.set)
    args.facts = {}  # what `build` finds worth telling
    return args


def read_input(args):
    """The first `batch` images as an array (batch, 3, size, size)."""
    import numpy

    count = args.batch * 3 * args.size * args.size
    return numpy.fromfile(args.input, dtype=numpy.float32, count=count).reshape(args.batch, 3, args.size, args.size)


def peak_bytes() -> int:
    """VmHWM: the most memory this process has had resident, files mapped by it included."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Worker:
    """Holds one engine between commands. `imports()` pulls in its libraries and returns what `build(args)` needs;
    `build` returns a function that does one forward and gives the logits as an array (batch, classes)."""

    def __init__(self, imports, build, answer_to):
        self.args = arguments()
        self.imports, self.build, self.answer_to = imports, build, answer_to
        self.forward = self.last = None
        self.before_load = 0

    def load(self) -> dict:
        start = time.perf_counter()
        self.imports()
        imported = time.perf_counter()
        self.before_load = peak_bytes()
        self.forward = self.build(self.args)
        times = {"import_ms": 1e3 * (imported - start), "load_ms": 1e3 * (time.perf_counter() - imported)}
        return times | self.args.facts

    def run(self, count: int) -> dict:
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.last = self.forward()
            times.append(1e3 * (time.perf_counter() - start))
        return {"times_ms": times}

    def answer(self, words: list[str]) -> dict:
        match words:
            case ["load"]:
                return self.load()
            case ["run", count]:
                return self.run(int(count))
            case ["logits"]:
                return {"logits": [float(v) for row in self.last for v in row]}
            case ["rss"]:
                return {"peak_bytes": peak_bytes(), "before_load_bytes": self.before_load}
        return {"error": f"unknown command {words}"}

    def serve(self) -> None:
        gc.disable()  # a collection in the middle of a forward would be noise, not the engine
        for line in sys.stdin:
            words = line.split()
            if words == ["quit"]:
                break
            try:
                reply = self.answer(words)
            except Exception:
                reply = {"error": traceback.format_exc()[-3000:]}
            self.answer_to.write(json.dumps(reply) + "\n")
            self.answer_to.flush()
            if "error" in reply:
                break
        # Some engines' destructors crash at interpreter shutdown; there is nothing left to save.
        os._exit(0)


def serve(imports, build) -> None:
    """Runs a worker. Native libraries print to descriptor 1: it is pointed at stderr, and the answers go to a copy."""
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    Worker(imports, build, answer_to).serve()
