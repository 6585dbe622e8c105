"""The program in a process of its own: signals, closed pipes, full disks. The conductor is substituted."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_process import command, environment

WAITING_UP = """
def up(selection, *, progress, wishes=None):
    progress.phase("postgres", "pulling", "50 %")
    try:
        say("working")
        wait_for_input()
    except EnvctlError as error:
        with shielded(left=lambda: ["container shop-1"]):
            say("rolling back")
            wait_for_input()
            error.state = "rolled back: 1 container"
        raise
environment.up = up
"""

ENDLESS_LOGS = """
def logs(selection, services, **options):
    try:
        while True:
            yield "redis", "x" * 1000
    finally:
        print("closed", file=sys.stderr)
environment.logs = logs
"""


@pytest.mark.provokes("INTERRUPTED")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_rolls_back_and_sets_the_exit_code(tmp_path: Path, number: int) -> None:
    """The work is undone before the program ends, the message tells, no progress thread holds it up."""
    with (
        subprocess.Popen(
            command(WAITING_UP, "up"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path),
        ) as child,
        ExitStack() as stack,
    ):
        stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        child.send_signal(number)
        assert child.stdout.readline() == "rolling back\n"
        _, err = child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert "error[INTERRUPTED]" in err
    assert "rolled back: 1 container" in err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`envctl logs | head -1`: exit 0, no message, and the source of the lines is closed properly."""
    read_end, write_end = os.pipe()
    with (
        subprocess.Popen(
            command(ENDLESS_LOGS, "logs"),
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path),
        ) as child,
        ExitStack() as stack,
    ):
        stack.callback(child.kill)
        os.close(write_end)
        assert os.read(read_end, 10)
        os.close(read_end)
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, "closed\n")


@pytest.mark.parametrize("arguments", [("up",), ("up", "--format", "json"), ("--help",), ("explain",), ("up", "-h")])
def test_a_reader_that_was_never_there_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The environment is up and the exit code says so, although nobody read the result."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as stdout:
        ended = subprocess.run(
            command("", *arguments), stdout=stdout, stderr=subprocess.PIPE, env=environment(tmp_path), check=False
        )
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    assert b"error" not in ended.stderr


def test_a_closed_stderr_does_not_stop_the_work(tmp_path: Path) -> None:
    """Progress that nobody reads never aborts an `up` or a clean-up."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    code = """
def up(selection, *, progress, wishes=None):
    for phase in ("pulling", "building", "ready"):
        progress.phase("postgres", phase)
        progress.note("note")
    say("done")
    return report()
environment.up = up
"""
    with os.fdopen(write_end, "wb", buffering=0) as stderr:
        ended = subprocess.run(
            command(code, "-v", "up"), stdout=subprocess.PIPE, stderr=stderr, env=environment(tmp_path), check=False
        )
    assert ended.returncode == 0
    assert ended.stdout.startswith(b"done\n")


def test_both_streams_closed(tmp_path: Path) -> None:
    """`envctl up >&- 2>&-` works and fails like any other call."""
    for code, expected in (("", 0), ("conductor.error = EnvctlError('x')", 1)):
        shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", *command(code, "up")]
        assert subprocess.run(shell, env=environment(tmp_path), check=False).returncode == expected


def test_a_result_that_does_not_fit_the_disk_is_told(tmp_path: Path) -> None:
    """A cut result must not pass for a whole one: error 73."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command("", "env"), stdout=full, stderr=subprocess.PIPE, env=environment(tmp_path), check=False
        )
    assert ended.returncode == 73
    assert ended.stderr.startswith(b"error[CANNOT_WRITE]")


def test_results_are_utf8_in_any_locale(tmp_path: Path) -> None:
    """A value with an umlaut passes a pipe under LANG=C and under an ASCII stdout."""
    code = "conductor.result = report(variables={'NAME': 'Zo\\u00eb'})"
    ended = subprocess.run(
        command(code, "env", "--format", "shell"),
        stdout=subprocess.PIPE,
        env=environment(tmp_path, LANG="C", PYTHONIOENCODING="ascii"),
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "export NAME='Zoë'\n".encode())


def test_down_works_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    """A deleted checkout is a reason to call `down`, not one to fail."""
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})"
    ended = subprocess.run(
        command(code, "down"), stderr=subprocess.PIPE, env=environment(tmp_path, PWD=str(gone)), check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"nothing to remove\n")
