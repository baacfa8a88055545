"""The command `resnest`, which the package brings along."""

from __future__ import annotations

import signal
import sys

from . import _resnest


def main() -> int:
    """Runs the command with the arguments of the process; the exit status."""
    # As the command alone has it: Ctrl-C ends it, and a reader that has gone is an error of writing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _resnest.command(["resnest", *sys.argv[1:]])
