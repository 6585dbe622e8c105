"""The program's first tenth of a second, in which it does little but import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import environment

# Interrupts itself when it looks for the module of a number, as Ctrl-C would at that moment.
PROGRAM = """
import sys, _signal
from envctl.__main__ import main
class Interrupting:
    left = {number}
    def find_spec(self, *_):
        self.left -= 1
        if self.left == 0:
            _signal.raise_signal(_signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["ls"]
main()
"""
LAST = 10_000


def run(folder: Path, number: int, *before: str) -> subprocess.CompletedProcess[str]:
    """The program, interrupted at the import of this number."""
    command = [*before, sys.executable, "-c", PROGRAM.format(number=number)]
    return subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
def test_an_interrupt_while_it_imports_is_no_traceback(tmp_path: Path, number: int) -> None:
    """Ctrl-C at any moment of the start ends the program with 130, and without a traceback."""
    done = run(tmp_path, number)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """What was started with SIGINT ignored, as jobs of a script in the background are, does its work."""
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    assert run(tmp_path, 5, *ignoring).stderr == run(tmp_path, LAST).stderr
    assert run(tmp_path, 5, *ignoring).returncode == 0
