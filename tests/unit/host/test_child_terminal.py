"""A command in a real terminal, below a real shell: who has the terminal, and whom its keys reach."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from child_programs import Terminal, driver, number_in, state
from harness import eventually

# Writes down its own number and the command's, waits as the command line does, and tells how that went.
RUN = """
import termios
folder, *command = sys.argv[1:]
write = lambda name, value: open(f"{folder}/{name}", "w").write(f"{value}\\n")
write("us", os.getpid())
with interruptible():
    with shielded():
        run = start(command, os.environ)
    write("command", run.pid)
    try:
        code = run.wait()
        tty = os.open("/dev/tty", os.O_RDWR)
        ours = os.tcgetpgrp(tty) == os.getpgrp()
        print("code", code, "ours" if ours else "not ours", file=sys.stderr)
        run.end_stragglers(1)
    except Interrupted as error:
        with shielded():
            print("interrupted by", error.signal_number, "then", run.end(5), file=sys.stderr)
"""


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:

        def make(*command: str) -> Terminal:
            made = Terminal(command) if command else Terminal()
            stack.callback(made.close)
            return made

        yield make


_WAITS = "while :; do sleep 0.05; done"  # `read` would not see a signal that comes just before it waits


def run(folder: Path, *command: str) -> list[str]:
    """The program above."""
    return driver(RUN, str(folder), *command)


def test_the_command_has_the_terminal_while_it_runs(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """It may read what is typed, and afterwards the terminal is ours, then the shell's again."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", 'read line; echo "read:$line"; exit 3'))
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert screen.is_held_by(command)
    assert us != command
    screen.type("hello\n")
    assert screen.shows("read:hello")
    assert screen.shows("code 3 ours")
    assert screen.is_held_by(screen.process.pid)


@pytest.mark.parametrize(
    ("program", "code"),
    [("echo here; exec sleep 60", 130), (f"trap 'exit 7' INT; echo here; {_WAITS}", 7)],
)
def test_ctrl_c_is_for_the_command_alone(
    terminal: Callable[..., Terminal], tmp_path: Path, program: str, code: int
) -> None:
    """Whether it dies of it or not, we go on and tell its exit code."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", program))
    assert screen.shows("here\r")
    assert screen.is_held_by(number_in(tmp_path / "command"))
    screen.type("\x03")
    assert screen.shows(f"code {code} ours")


def test_ctrl_z_stops_both_and_fg_continues_both(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """The shell gets its terminal with its modes, and `fg` gives the command the terminal with the command's modes."""
    screen = terminal()
    program = 'stty -echo; echo "quiet"; read line; echo "read:$line"; stty echo'
    screen.run(run(tmp_path, "sh", "-c", program))
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert screen.shows("quiet\r")
    for _ in range(2):
        assert screen.is_held_by(command)
        assert not screen.echoes()
        screen.type("\x1a")
        assert eventually(lambda: (state(us), state(command)) == ("T", "T"))
        assert screen.is_held_by(screen.process.pid)
        assert screen.echoes()
        screen.type("fg\n")
    assert screen.is_held_by(command)
    assert eventually(lambda: not screen.echoes())
    screen.type("hello\n")
    assert screen.shows("read:hello")
    assert screen.shows("code 0 ours")


@pytest.mark.parametrize("stopped", ["both", "us"])
def test_bg_leaves_the_terminal_to_the_shell(terminal: Callable[..., Terminal], tmp_path: Path, stopped: str) -> None:
    """After Ctrl-Z, or where somebody has stopped only us: the end in the background takes the terminal from nobody."""
    screen = terminal()
    os.mkfifo(tmp_path / "go")
    screen.run(run(tmp_path, "sh", "-c", f"echo here; exec cat {tmp_path}/go"))
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert screen.shows("here\r")
    if stopped == "both":
        screen.type("\x1a")
    else:
        os.kill(us, signal.SIGSTOP)
    assert eventually(lambda: state(us) + state(command) == ("TT" if stopped == "both" else "TS"))
    screen.type("bg\n")
    assert eventually(lambda: state(us) + state(command) == "SS")
    (tmp_path / "go").write_text("")
    assert screen.shows("code 0 not ours")
    assert screen.holder() == screen.process.pid


def test_in_the_background_it_stops_when_it_needs_the_terminal(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """It takes the terminal from nobody; we stop with it, as any job, and `fg` lets it read."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", 'read line; echo "read:$line"'), "&")
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert eventually(lambda: (state(us), state(command)) == ("T", "T"))
    assert screen.holder() == screen.process.pid
    screen.type("fg\n")
    assert screen.is_held_by(command)
    screen.type("hello\n")
    assert screen.shows("read:hello")
    assert screen.shows("code 0 ours")


def test_in_a_pipeline_the_terminal_stays_with_the_neighbours(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """A pager may need it; so Ctrl-C reaches us too, as an interruption."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", "echo here; sleep 60"), "| cat")
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert screen.shows("here\r")
    assert screen.holder() not in (screen.process.pid, command)
    screen.type("\x03")
    assert screen.shows("interrupted by 2 then 143")
    assert eventually(lambda: not state(us) + state(command))


def test_in_a_pipeline_the_command_gets_the_terminal_when_it_asks(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """What reads the terminal itself is given it, and it comes back to the pipeline."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", f"read line </dev/tty; echo $line >{tmp_path}/read"), "| cat")
    assert screen.is_held_by(number_in(tmp_path / "command"))
    screen.type("42\n")
    assert screen.shows("code 0 ours")
    assert number_in(tmp_path / "read") == 42


def test_who_asked_before_it_had_the_terminal_goes_on(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """An interactive shell stops itself until it has the terminal; it may get it just before it does so."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", 'read line; kill -TTIN $$; echo "read:$line"'))
    assert screen.is_held_by(number_in(tmp_path / "command"))
    screen.type("hello\n")
    assert screen.shows("read:hello")
    assert screen.shows("code 0 ours")


def test_where_nobody_could_continue_us_ctrl_z_stops_nothing(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """As the terminal's first process (in a container, over ssh) we have no shell above: the command goes on."""
    screen = terminal(*run(tmp_path, "sh", "-c", 'stty -echo; echo quiet; read line; echo "read:$line"; stty echo'))
    command = number_in(tmp_path / "command")
    assert screen.shows("quiet\r")
    screen.type("\x1a")
    screen.type("hello\n")
    assert screen.shows("read:hello")
    assert screen.shows("code 0 ours")
    assert not state(command)


def test_where_nobody_could_continue_us_a_command_that_was_stopped_stays_so(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Who sent it SIGSTOP will also continue it; then it gets the terminal again when it needs it."""
    screen = terminal(*run(tmp_path, "sh", "-c", 'echo here; read line; echo "read:$line"'))
    us, command = number_in(tmp_path / "us"), number_in(tmp_path / "command")
    assert screen.shows("here\r")
    os.kill(command, signal.SIGSTOP)
    assert screen.is_held_by(us)
    assert state(command) == "T"
    os.kill(command, signal.SIGCONT)
    assert screen.is_held_by(command)
    screen.type("hello\n")
    assert screen.shows("read:hello")


def test_a_command_that_stops_while_it_is_ended_does_not_stop_us(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """It is to end in good order, which takes going on."""
    screen = terminal()
    screen.run(run(tmp_path, "sh", "-c", f"trap 'kill -TSTP $$; exit 5' TERM; echo here; {_WAITS}"))
    assert screen.shows("here\r")
    os.kill(number_in(tmp_path / "us"), signal.SIGTERM)
    assert screen.shows("interrupted by 15 then 5")


@pytest.mark.parametrize(("end", "echoes"), [("exit 0", False), ("kill -9 $$", True)])
def test_modes_are_put_back_after_a_death_only(
    terminal: Callable[..., Terminal], tmp_path: Path, end: str, echoes: bool
) -> None:
    """A command may change them on purpose (stty); one that died could not put back what it changed."""
    screen = terminal(*run(tmp_path, "sh", "-c", f"stty -echo; {end}"))
    assert screen.shows("ours")
    assert screen.echoes() is echoes
