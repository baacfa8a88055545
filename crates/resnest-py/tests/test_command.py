"""The command `resnest` that comes with the package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import resnest_rs
from helpers import DEMO_PHOTOS

COMMAND = Path(sys.executable).with_name("resnest")
if not COMMAND.exists():
    COMMAND = Path(shutil.which("resnest") or "resnest")
CHELSEA, HORSE = str(DEMO_PHOTOS / "chelsea.png"), str(DEMO_PHOTOS / "horse.png")


def resnest(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=timeout)


@pytest.fixture(autouse=True)
def installed() -> None:
    if not COMMAND.exists():
        pytest.skip("the package is not installed here, so that there is no command")


def test_version() -> None:
    found = resnest("--version")
    assert found.returncode == 0
    assert found.stdout.startswith(f"resnest {resnest_rs.__version__}")


def test_classify(demo: resnest_rs.Classifier) -> None:
    found = resnest("classify", "--model", "demo", CHELSEA, HORSE, "--format", "jsonl")
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    for line, one in zip(lines, demo.classify([CHELSEA, HORSE]), strict=True):
        assert isinstance(one, resnest_rs.Prediction)
        assert one.top.label in json.dumps(line)


def test_exit_statuses(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for arguments, status in [
        (["classify", "--model", "demo", CHELSEA], 0),
        (["--help"], 0),
        (["classify", "--model", "demo", CHELSEA, str(broken)], 1),
        (["classify", "--model", "no_such_model", CHELSEA], 3),
        (["classify", "--no-such-option"], 2),
        (["nonsense"], 2),
    ]:
        found = resnest(*arguments)
        assert found.returncode == status, (arguments, found.stdout, found.stderr)


def test_standard_input(chelsea: bytes) -> None:
    command = [COMMAND, "classify", "--model", "demo", "-"]
    found = subprocess.run(command, input=chelsea, capture_output=True, timeout=60)
    assert found.returncode == 0 and b"cat" in found.stdout


def test_a_closed_pipe() -> None:
    # A reader that has gone is no crash.
    found = subprocess.run(
        f'"{COMMAND}" models | head -1', shell=True, capture_output=True, text=True, timeout=60
    )
    assert found.stdout and "panicked" not in found.stderr and "Traceback" not in found.stderr


def test_ctrl_c() -> None:
    process = subprocess.Popen(
        [COMMAND, "classify", "--model", "demo", *[CHELSEA] * 20000],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "RESNEST_NUM_THREADS": "1"},
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    # By the signal itself, which a shell calls 130, or by the status that says the same.
    assert process.returncode in (-signal.SIGINT, 130), (process.returncode, said)
    assert b"Traceback" not in said
