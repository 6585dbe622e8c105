"""A command that is run, waited for and ended, with all of its process group. Terminals: test_child_terminal.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from child_programs import driver, number_in, state
from harness import eventually

from envctl.errors import CommandNotExecutable, CommandNotFound
from envctl.host import clock, stragglers
from envctl.host.child import Child, start

Start = Callable[..., Child]


@pytest.fixture
def run() -> Iterator[Start]:
    """Starts commands, and ends at last what is left of their groups."""
    with ExitStack() as stack:

        def begin(*command: str, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Child:
            child = start(command, environ, cwd)
            stack.callback(child.end, 0)
            return child

        yield begin


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs of `child_programs.driver`, which are killed at last."""
    with ExitStack() as stack:

        def begin(command: Sequence[str], **how: object) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how)  # type: ignore[call-overload]  # options come by name
            )
            stack.callback(process.kill)
            return process

        yield begin


def lines(process: subprocess.Popen[str]) -> Callable[[], str]:
    """What it says, line by line."""
    assert process.stdout is not None
    stream = process.stdout
    return lambda: stream.readline().strip()


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill $$", 143)])
def test_the_exit_code_is_passed_on(run: Start, command: str, code: int) -> None:
    """As a shell tells it, however often it is asked for."""
    child = run("sh", "-c", command)
    assert child.wait() == code
    assert child.wait() == code
    assert child.end_stragglers(1) == []
    assert child.wait() == code
    assert not Path(f"/proc/{child.pid}").exists()


def test_it_gets_the_variables_and_the_folder(run: Start, tmp_path: Path) -> None:
    """Exactly those variables, and its program is looked for in their PATH."""
    (tmp_path / "bin").mkdir()
    own = tmp_path / "bin/own"
    own.write_text('#!/bin/sh\necho "$PWD $A $HOME" >out\n')
    own.chmod(0o755)
    assert run("own", environ={"PATH": f"{tmp_path}/bin", "A": "1"}, cwd=tmp_path).wait() == 0
    assert (tmp_path / "out").read_text() == f"{tmp_path} 1 \n"


def test_a_watcher_can_recognise_it(run: Start) -> None:
    """Its number, that of its group, and its start time."""
    child = run("sleep", "60")
    stat = Path(f"/proc/{child.pid}/stat").read_bytes().rpartition(b")")[2].split()
    assert (int(stat[2]), int(stat[19])) == (child.pid, child.start_ticks)


# -- what cannot be run ------------------------------------------------------------------------------------------------


@pytest.mark.provokes("COMMAND_NOT_FOUND")
@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["nosuchprogram"], "PATH"),
        (["./nosuchprogram"], "no file"),
        ([""], "PATH"),
        (["A=1", "pytest"], "env A=1 pytest"),
        (["pytest -x"], "sh -c 'pytest -x'"),
    ],
)
def test_a_command_that_is_not_there(command: list[str], word: str, tmp_path: Path) -> None:
    """127, and the most likely slip is named. A folder of PATH that may not be searched changes nothing."""
    with pytest.raises(CommandNotFound) as caught:
        start(command, {"PATH": f"{tmp_path}:/nowhere"})
    assert caught.value.exit == 127
    assert word in "\n".join([caught.value.cause or "", *caught.value.fix])


@pytest.mark.provokes("COMMAND_NOT_EXECUTABLE")
@pytest.mark.parametrize(
    ("content", "mode", "cause"),
    [
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("exit 0\n", 0o755, "without a first line"),
        ("#!/nowhere/sh\n", 0o755, "/nowhere/sh"),
        ("#!/bin/sh\r\n", 0o755, "Windows"),
        ("\x7fELF\x02\x01\x01" + 9 * "\0" + "\x02\0\x7f\0", 0o755, "machine 127"),
    ],
)
def test_a_file_that_is_no_program_for_this_machine(tmp_path: Path, content: str, mode: int, cause: str) -> None:
    """126, with what is wrong with the file."""
    file = tmp_path / "own"
    file.write_bytes(content.encode())
    file.chmod(mode)
    for program in (str(file), "own"):
        with pytest.raises(CommandNotExecutable) as caught:
            start([program], {"PATH": str(tmp_path)})
        assert caught.value.exit == 126
        assert cause in (caught.value.cause or "")


@pytest.mark.provokes("COMMAND_NOT_EXECUTABLE")
def test_what_else_the_system_refuses(tmp_path: Path) -> None:
    """A folder as program, a working folder that is not there, too long arguments."""
    for command, cwd, cause in (
        (["/tmp"], None, "is a folder"),
        (["true"], tmp_path / "gone", "working folder"),
        (["true", "x" * (1 << 20)], None, "longer"),
    ):
        with pytest.raises(CommandNotExecutable) as caught:
            start(command, os.environ, cwd)
        assert cause in (caught.value.cause or "")


# -- its group ---------------------------------------------------------------------------------------------------------


def test_a_signal_reaches_the_whole_group(run: Start, tmp_path: Path) -> None:
    """What the command started gets it too; afterwards a signal is no error."""
    child = run("sh", "-c", f"sleep 60 & echo $! >{tmp_path}/below; wait")
    below = number_in(tmp_path / "below")
    child.signal(signal.SIGTERM)
    assert child.wait() == 143
    assert eventually(lambda: not state(below))
    child.signal(signal.SIGTERM)
    child.end_stragglers(1)
    child.signal(signal.SIGTERM)


def test_after_its_end_its_number_is_left_alone(run: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be another program's by then. That cannot be provoked, so here nothing may be signalled at all."""
    for ends in (Child.end, Child.end_stragglers):
        child = run("true")
        child.wait()
        ends(child, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", None)
            patch.setattr(os, "killpg", None)
            child.signal(signal.SIGTERM)


def test_what_ignores_the_end_is_killed_after_the_grace(run: Start, tmp_path: Path) -> None:
    """The command and what it started, all of them."""
    child = run("sh", "-c", f"trap '' TERM; sleep 60 & echo $! >{tmp_path}/below; wait; sleep 60")
    below = number_in(tmp_path / "below")
    assert child.end(0.1) == 137
    assert not state(child.pid) + state(below)


def test_a_command_that_has_left_its_group_is_ended_too(run: Start) -> None:
    """Its number is still its own."""
    child = run(sys.executable, "-c", "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(60)")
    assert eventually(lambda: os.getpgid(child.pid) == os.getpgrp())
    assert child.end(5) == 143


def test_who_is_stopped_ends_in_good_order(run: Start) -> None:
    """SIGTERM alone would wait for somebody to continue it."""
    child = run("sh", "-c", "trap 'exit 5' TERM; kill -STOP $$; sleep 60")
    assert eventually(lambda: state(child.pid) == "T")
    assert child.end(5) == 5


def test_stragglers_are_ended_and_daemons_are_left(run: Start, tmp_path: Path) -> None:
    """What is still in the group when the command has ended; and our other children's exit codes stay theirs."""
    with subprocess.Popen(["sh", "-c", "exit 9"]) as other:
        program = (
            f"setsid sleep 60 & echo $! >{tmp_path}/daemon; (trap '' TERM; exec sleep 61) & echo $! >{tmp_path}/left"
        )
        child = run("sh", "-c", program)
        began_s = clock.monotonic_s()
        assert child.wait() == 0
        assert clock.monotonic_s() - began_s < 5, "it waited for what holds its output"
        daemon, left = number_in(tmp_path / "daemon"), number_in(tmp_path / "left")
        try:
            assert eventually(lambda: os.getsid(daemon) == daemon)
            assert child.end_stragglers(0.1) == [(left, "sleep")]
            assert not state(left)
            assert state(daemon)
        finally:
            os.kill(daemon, signal.SIGKILL)
        assert child.end_stragglers(0.1) == []
        assert other.wait() == 9


def test_who_ends_by_himself_is_no_straggler(run: Start) -> None:
    """A helper that notices the command's end a moment later is not signalled, nor named."""
    child = run("sh", "-c", "(trap 'sleep 60' TERM; sleep 0.03) &")
    assert child.wait() == 0
    assert child.end_stragglers(1) == []


# -- what it inherits --------------------------------------------------------------------------------------------------


def test_our_descriptors_stay_with_us_and_the_callers_go_on(run: Start, tmp_path: Path) -> None:
    """A lock or registry of ours is not held open by the command; `<(…)` of a shell works."""
    with (tmp_path / "ours").open("w"), (tmp_path / "callers").open("w") as passed:
        os.set_inheritable(passed.fileno(), True)
        command = f"ls -l /proc/self/fd >{tmp_path}/fds"
        assert run("sh", "-c", command).wait() == 0
    seen = (tmp_path / "fds").read_text()
    assert f"{tmp_path}/callers" in seen
    assert f"{tmp_path}/ours" not in seen


def ignored(status: str, name: str) -> set[int]:
    """The signals in a set of /proc/PID/status."""
    line = next(line for line in status.splitlines() if line.startswith(name))
    bits = int(line.split()[1], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


@pytest.mark.parametrize("at_start", [{signal.SIGHUP}, {signal.SIGINT, signal.SIGQUIT}, {signal.SIGCHLD}, set()])
def test_only_what_the_caller_ignored_is_ignored(
    program: Callable[..., subprocess.Popen[str]], at_start: set[signal.Signals]
) -> None:
    """`nohup` works; SIGPIPE, which Python ignores for itself, ends a writer; and an exit code is known in any case."""

    def as_caller() -> None:
        for number in at_start | {signal.SIGPIPE}:
            signal.signal(number, signal.SIG_IGN)

    code = """
with interruptible():
    start(["cat", "/proc/self/status"], os.environ).wait()
    say(start(["sh", "-c", "exit 3"], os.environ).wait())
"""
    process = program(driver(code), preexec_fn=as_caller, restore_signals=False)
    status = process.communicate(timeout=30)[0]
    ours = ignored(Path("/proc/self/status").read_text(), "SigIgn") - {signal.SIGPIPE, signal.SIGXFSZ}
    assert ignored(status, "SigIgn") == {int(number) for number in at_start - {signal.SIGCHLD}} | ours
    assert ignored(status, "SigBlk") == set()
    assert status.splitlines()[-1] == "3"


def test_a_writer_ends_with_its_reader(run: Start, tmp_path: Path) -> None:
    """`yes | head` says nothing about a broken pipe."""
    assert run("sh", "-c", f"(yes 2>{tmp_path}/err; echo $? >{tmp_path}/code) | head -1 >/dev/null").wait() == 0
    assert number_in(tmp_path / "code") == 141
    assert (tmp_path / "err").read_text() == ""


# -- signals that arrive -----------------------------------------------------------------------------------------------

WAIT = """
if sys.argv[1:] == ["without"]:
    del os.pidfd_open
from envctl.host import clock
with interruptible():
    try:
        with shielded():
            run = start(["sh", "-c", "echo here; read line; exit 4"], os.environ)
        run.wait()
    except Interrupted as error:
        say("interrupted by", error.signal_number, "ended" if run.has_ended() else "runs")
    say("code", run.wait())
"""


@pytest.mark.parametrize("pidfd", ["with", "without"])
def test_waiting_lets_a_signal_through_and_goes_on(program: Callable[..., subprocess.Popen[str]], pidfd: str) -> None:
    """The signal is ours to deal with: the command runs on, and its exit code is not lost. Also on older kernels."""
    process = program(driver(WAIT, pidfd), stdin=subprocess.PIPE)
    line = lines(process)
    assert line() == "here"
    began_s = clock.monotonic_s()
    process.send_signal(signal.SIGTERM)
    assert line() == "interrupted by 15 runs"
    assert clock.monotonic_s() - began_s < 1
    assert process.communicate("on\n", timeout=30)[0] == "code 4\n"


@pytest.mark.parametrize("pidfd", ["with", "without"])
def test_no_signal_is_missed_just_before_waiting(program: Callable[..., subprocess.Popen[str]], pidfd: str) -> None:
    """One that does not wake the system call we wait in is raised within a moment all the same."""
    # Another thread catches it: for the main thread that is as if it had come just before the call.
    code = """
from threading import Thread, get_ident
from envctl.host import clock
if sys.argv[1:] == ["without"]:
    del os.pidfd_open
run = start(["sleep", "60"], os.environ)
came_s = []
def send():
    clock.sleep_s(0.1)
    came_s.append(clock.monotonic_s())
    signal.pthread_kill(get_ident(), signal.SIGTERM)
try:
    with interruptible():
        thread = Thread(target=send)
        thread.start()
        run.wait()
except Interrupted:
    say(clock.monotonic_s() - came_s[0])
thread.join()
say(run.end(1))
"""
    ended = program(driver(code, pidfd)).communicate(timeout=30)[0].split()
    assert float(ended[0]) < 1
    assert ended[1] == "143"


def test_a_signal_while_it_is_started_leaves_nothing(program: Callable[..., subprocess.Popen[str]]) -> None:
    """The command is ended again; within a shield it is known first."""
    code = """
real = subprocess.Popen
def popen(*args, **how):
    process = real(*args, **how)
    say(process.pid)
    os.kill(os.getpid(), signal.SIGTERM)
    return process
subprocess.Popen = popen
try:
    with interruptible():
        start(["sleep", "60"], os.environ)
except Interrupted:
    say("interrupted")
try:
    with interruptible():
        with shielded():
            run = start(["sleep", "60"], os.environ)
except Interrupted:
    say("ended" if run.has_ended() else "runs", run.end(1))
"""
    process = program(driver(code))
    line = lines(process)
    first = int(line())
    assert line() == "interrupted"
    assert not state(first)
    line()
    assert line() == "runs 143"


def test_a_second_signal_ends_the_command_with_us(
    program: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Who is asked twice does not wait for the grace, and leaves nothing running."""
    code = """
with interruptible():
    try:
        with shielded():
            run = start(["sh", "-c", "trap '' TERM; echo here; sleep 60 & wait; sleep 60"], os.environ)
        run.wait()
    except Interrupted:
        with shielded():
            say(run.pid)
            run.end(60)
"""
    process = program(driver(code), stderr=subprocess.DEVNULL)
    line = lines(process)
    assert line() == "here"
    process.send_signal(signal.SIGTERM)
    group = int(line())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert eventually(lambda: not stragglers.running(group))
