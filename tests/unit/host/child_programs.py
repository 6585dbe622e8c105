"""Programs that use `envctl.host.child`, in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path

from harness import eventually
from terminal import Terminal

__all__ = ["Terminal", "driver", "number_in", "state"]

PRELUDE = """
import os, signal, subprocess, sys
from envctl.errors import EnvctlError, Interrupted
from envctl.host import child, signals
from envctl.host.child import start
from envctl.host.signals import interruptible, shielded
signals.ECHO_S = 0.0
say = lambda *words: print(*words, flush=True)
"""


def driver(code: str, *words: str) -> list[str]:
    """The command of a program that says things on stdout; `words` are its sys.argv[1:]."""
    return [sys.executable, "-c", PRELUDE + code, *words]


def state(pid: int) -> str:
    """The state of a process: "S", "T" for stopped, …; "" where there is none or only its exit code."""
    try:
        found = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return ""
    return "" if found in "ZX" else found


def number_in(path: Path) -> int:
    """A number that a program writes into a file, when it is there."""
    return int(eventually(lambda: path.read_text() if path.exists() and path.read_text().endswith("\n") else ""))
