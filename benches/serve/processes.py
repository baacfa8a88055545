"""A server's processes: started, frozen while another is measured, weighed, stopped. Linux only (/proc)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path


def parents() -> dict[int, int]:
    """Every process and its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # After the name, which is in brackets and may hold anything: state, parent, …
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                pass
    return found


def tree(root: int) -> list[int]:
    """`root` and all that descend from it."""
    above = parents()
    found = [root]
    for process in found:
        found.extend(child for child, parent in above.items() if parent == process)
    return found


def field(process: int, file: str, name: str) -> int:
    """A line `Name: 123 kB` of a file in /proc, in bytes; 0 if the process has gone."""
    try:
        for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def pss(root: int) -> int:
    """Bytes of memory of all processes of a server; what several of them share counts once."""
    return sum(field(process, "smaps_rollup", "Pss:") for process in tree(root))


class Peak:
    """The highest `pss` of a server while a `with` block runs."""

    def __init__(self, root: int, every: float = 0.5):
        self.root, self.every, self.bytes = root, every, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self) -> None:
        while not self.over.is_set():
            self.bytes = max(self.bytes, pss(self.root))
            self.over.wait(self.every)

    def __enter__(self) -> Peak:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.thread.join()


class Process:
    """One server's tree of processes."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.begin = time.perf_counter()
        with log.open("wb") as file:
            environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | (env or {})
            # A session of its own: an interrupt of the run must not reach it before we stop it.
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )

    def alive(self) -> bool:
        return self.child.poll() is None

    def signal(self, number: int) -> None:
        for process in tree(self.child.pid):
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass

    def freeze(self) -> None:
        """Takes the CPU away from it: idle servers of this comparison poll, and some spin."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Asks the server to end, then ends what is left of it."""
        self.thaw()
        rest = tree(self.child.pid)[1:]
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            rest = tree(self.child.pid)[1:]
            self.child.kill()
            self.child.wait()
        for process in rest:
            # Only what still belongs to this server's session: numbers of processes are used again.
            try:
                if os.getsid(process) == self.child.pid:
                    os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
