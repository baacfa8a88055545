"""One worker process: questions, answers, and what the kernel knows about it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class EngineFailed(Exception):
    """An engine that could not load or run; its message is what the table shows."""


class Session:
    """A worker, loaded and with its first forward behind it. `first_answer_ms` counts from before the process was made,
    with the checkpoint in the page cache if it was read before."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path, timeout: float):
        self.log, self.timeout, self.pending = log, timeout, b""
        start = time.perf_counter()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self.reader = selectors.DefaultSelector()
        self.reader.register(self.process.stdout, selectors.EVENT_READ)
        try:
            self.send("load\nrun 1\n")
            self.loading = self.read()
            self.first_forward_ms = self.read()["times_ms"][0]
        except BaseException:
            self.close()
            raise
        self.first_answer_ms = 1e3 * (time.perf_counter() - start)

    def send(self, text: str) -> None:
        try:
            self.process.stdin.write(text.encode())
        except BrokenPipeError:
            raise EngineFailed(self.obituary()) from None

    def read(self) -> dict:
        """The next answer; native libraries may have printed lines before it."""
        while True:
            line = self.read_line()
            if line.startswith(b"{"):
                reply = json.loads(line)
                if "error" in reply:
                    raise EngineFailed(reply["error"])
                return reply

    def read_line(self) -> bytes:
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self.pending:
            if not self.reader.select(deadline - time.monotonic()):
                raise EngineFailed(f"no answer within {self.timeout:.0f} s")
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise EngineFailed(self.obituary())
            self.pending += chunk
        line, self.pending = self.pending.split(b"\n", 1)
        return line

    def ask(self, command: str) -> dict:
        self.send(command + "\n")
        return self.read()

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def obituary(self) -> str:
        status = self.process.wait(timeout=10)
        return f"the worker ended with status {status}: {self.log.read_text(errors='replace')[-1500:]}"

    def close(self) -> None:
        """Ends the worker; one that does not listen is killed."""
        try:
            self.process.stdin.write(b"quit\n")
            self.process.stdin.close()
            self.process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.reader.close()
