"""A command whose output is kept: how it ends, what is kept of it, and that nothing of it outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from child_programs import driver, number_in, state
from harness import eventually

from envctl.errors import CommandNotFound
from envctl.host import captured

LIMIT_S = 20.0


def run(line: str, limit_s: float = LIMIT_S) -> captured.Ended:
    return captured.run(["/bin/sh", "-c", line], os.environ, Path("/"), limit_s=limit_s)


def test_the_last_lines_are_kept_and_nothing_waits_for_a_reader() -> None:
    """Both streams in order, without colors, of a progress bar what was drawn last; megabytes are no matter."""
    ended = run(r"seq 300000; printf '\033[31mred\033[0m\n' >&2; printf '10%%\r100%%\n\nend'; exit 3")
    assert ended.code == 3
    assert ended.lines[-4:] == ("300000", "red", "100%", "end")
    assert len(ended.lines) <= 101


def test_it_has_no_terminal_and_no_input() -> None:
    """What asks a question gets no answer, instead of waiting for one for ever."""
    assert run("read -r word; echo $?; (: < /dev/tty) 2>/dev/null || echo none").lines == ("1", "none")


def test_what_takes_too_long_is_ended_whole(tmp_path: Path) -> None:
    """With all of its group, and what it said is known."""
    ended = run(f"echo begun; sleep 60 & echo $! >{tmp_path}/pid; wait", 0.3)
    assert ended == (None, ("begun",))
    assert state(number_in(tmp_path / "pid")) == ""


def test_what_it_leaves_running_is_ended(tmp_path: Path) -> None:
    """A helper in the background does not go on writing into data that counts as finished."""
    assert run(f"sleep 60 & echo $! >{tmp_path}/pid").code == 0
    assert state(number_in(tmp_path / "pid")) == ""


def test_a_command_that_is_not_there() -> None:
    """It is told as such, and nothing is left waiting."""
    with pytest.raises(CommandNotFound):
        captured.run(["nosuchprogram"], os.environ, Path("/"), limit_s=LIMIT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_us(tmp_path: Path, number: int) -> None:
    """A signal ends all of its group, and so does the guard where we are killed outright."""
    code = """
from pathlib import Path
from envctl.host import captured
line = f"sleep 60 & echo $! >{sys.argv[1]}/inner; echo $$ >{sys.argv[1]}/outer; wait; true"
with interruptible():
    try:
        captured.run(["/bin/sh", "-c", line], os.environ, Path("/"), limit_s=60)
    except Interrupted as interruption:
        sys.exit(interruption.exit)
"""
    with subprocess.Popen(driver(code, str(tmp_path))) as process:
        pids = [number_in(tmp_path / name) for name in ("inner", "outer")]
        process.send_signal(number)
        assert process.wait(10) == (-number if number == signal.SIGKILL else 128 + number)
    assert eventually(lambda: not any(map(state, pids)))
