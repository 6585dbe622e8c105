"""Watchers, as the processes they are; what they would call in the end only writes down that it was called."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import eventually

from envctl.host import clock, heartbeat, owner
from envctl.host.watcher import Watcher
from envctl.model import Owner

# A program that starts a watcher of its own, tells its number, and does what it is told on its standard input.
PROGRAM = """
import os, signal, subprocess, sys
from pathlib import Path
from envctl.host import background, owner
from envctl.host.watcher import Watcher
state, *reaper = sys.argv[1:]
background.python = lambda module: reaper
watcher = Watcher(Path(state), "5e55", owner.current(), os.environ)
print(watcher._pid, flush=True)
for line in sys.stdin:
    exec(line)
"""


@pytest.fixture
def called(tmp_path: Path) -> Path:
    """Where the reaper's arguments appear when it is called."""
    return tmp_path / "called"


@pytest.fixture
def reaper(called: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the reaper, also in this process."""
    words = ["/bin/sh", "-c", f'echo "$@" > {called}.new; mv {called}.new {called}', "sh"]
    monkeypatch.setattr("envctl.host.background.python", lambda _: words)
    return words


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Watched:
    """A program that has started a watcher of itself."""

    def __init__(self, stack: ExitStack, state: Path, reaper: list[str], **how: object) -> None:
        self.state = state
        self.process = stack.enter_context(
            subprocess.Popen(  # type: ignore[call-overload]  # options come by name
                [sys.executable, "-c", PROGRAM, str(state), *reaper],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                **how,
            )
        )
        stack.callback(self.process.kill)
        self.watcher = int(self.process.stdout.readline())

    @property
    def watches(self) -> bool:
        """Whether the watcher has taken the heartbeat's file."""
        return eventually(lambda: self.file.exists() and self.file.read_text().isdecimal(), every_s=0.005)

    @property
    def file(self) -> Path:
        return heartbeat.path(self.state, "5e55")

    def do(self, code: str) -> None:
        self.process.stdin.write(f"{code}\n")
        self.process.stdin.flush()


def is_gone(pid: int) -> bool:
    """Whether a process ends within a few seconds; if it is our child we take its exit code."""

    def ended() -> bool:
        try:
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                return False
        except ChildProcessError:
            pass
        return not owner.is_alive(Owner(owner.current().boot_id, pid, 0))

    return eventually(ended, every_s=0.01)


@pytest.fixture
def sleeper(stack: ExitStack) -> subprocess.Popen[bytes]:
    """Another process than ours."""
    process = stack.enter_context(subprocess.Popen(["sleep", "60"]))
    stack.callback(process.kill)
    return process


def watch(tmp_path: Path, of: subprocess.Popen[bytes]) -> Watcher:
    found = owner.of(of.pid)
    assert found is not None
    return Watcher(tmp_path, "5e55", found, os.environ)


def test_kill_of_the_process_calls_the_reaper(
    stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path
) -> None:
    """With the session, and with the programs that were run."""
    program = Watched(stack, tmp_path, reaper)
    assert program.watches
    told = ["session", str(tmp_path), "5e55"]
    for _ in range(2):
        program.do("print(subprocess.Popen(['sleep', '60'], preexec_fn=watcher.begins).pid, flush=True)")
        run = owner.of(int(program.process.stdout.readline()))
        assert run is not None
        stack.callback(os.kill, run.pid, signal.SIGKILL)
        told += [str(run.pid), str(run.start_ticks)]
    assert not called.exists()
    program.process.kill()
    assert eventually(called.exists, every_s=0.01)
    assert called.read_text().split() == told


def test_a_program_that_was_about_to_begin(stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path) -> None:
    """Killed between the two, the program does not begin: nobody may have heard of it."""
    program = Watched(stack, tmp_path, reaper)
    assert program.watches
    begins = "print('forked', flush=True), sys.stdin.readline(), watcher.begins(), print('begun', flush=True)"
    program.do(f"pid = os.fork() or ({begins}, os._exit(0)); signal.pause()")
    assert program.process.stdout.readline() == "forked\n"
    program.process.kill()
    program.process.wait()
    assert eventually(called.exists, every_s=0.01)
    program.do("go")
    assert program.process.stdout.readline() == ""


def test_a_fork_that_lives_on_does_not_hold_it(
    stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path
) -> None:
    """The pipe is still open in it, the process is gone."""
    program = Watched(stack, tmp_path, reaper)
    assert program.watches
    program.do("pid = os.fork(); print(pid, flush=True) if pid else signal.pause()")
    fork = int(program.process.stdout.readline())
    stack.callback(os.kill, fork, signal.SIGKILL)
    program.process.kill()
    assert eventually(called.exists, every_s=0.01)


def test_the_end_in_good_order(stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path) -> None:
    """Nothing is called, nothing is left, again is fine; so also where the watcher was killed before."""
    program = Watched(stack, tmp_path, reaper)
    assert program.watches
    program.do("watcher.dismiss(); watcher.dismiss(); print('done', flush=True)")
    assert program.process.stdout.readline() == "done\n"
    assert not program.file.exists()
    assert is_gone(program.watcher)
    assert not called.exists()
    other = Watched(stack, tmp_path, reaper)
    os.kill(other.watcher, signal.SIGKILL)
    other.do("watcher.dismiss(); print('done', flush=True)")
    assert other.process.stdout.readline() == "done\n"


def test_it_is_out_of_reach(stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path) -> None:
    """Signals that mean the program do nothing to it; it holds no folder and no stream of the program."""
    lent, end = os.pipe()
    os.set_inheritable(end, True)
    program = Watched(stack, tmp_path, reaper, cwd=tmp_path, process_group=0, pass_fds=[end])
    os.close(end)
    assert program.watches
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(program.watcher, number)
    folder = Path(f"/proc/{program.watcher}")
    assert os.getsid(program.watcher) == program.watcher
    assert (folder / "cwd").readlink() == Path("/")
    streams = {int(fd.name): fd.readlink() for fd in (folder / "fd").iterdir()}
    assert (streams[1], streams[2]) == (Path(os.devnull), Path(os.devnull))
    os.killpg(program.process.pid, signal.SIGKILL)
    program.process.wait()
    assert select.select([lent], [], [], 5)[0], "who waits for the end of what it lent the program waits for that alone"
    os.close(lent)
    assert eventually(called.exists, every_s=0.01)


def test_another_process_is_watched_on(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], reaper: list[str], called: Path
) -> None:
    """Who started the watcher goes on with something else; one is enough, and the second one leaves at once."""
    first = watch(tmp_path, sleeper)
    assert eventually(lambda: heartbeat.path(tmp_path, "5e55").exists(), every_s=0.005)
    beat = heartbeat.path(tmp_path, "5e55")
    assert eventually(lambda: beat.read_text().isdecimal(), every_s=0.005)
    assert abs(clock.boot_s() - int(beat.read_text())) < 5
    first.leave()
    second = watch(tmp_path, sleeper)
    assert is_gone(second._pid)
    second.dismiss()
    assert beat.exists()
    assert not called.exists()
    sleeper.kill()
    sleeper.wait()
    assert eventually(called.exists, every_s=0.01)
    assert called.read_text().split() == ["session", str(tmp_path), "5e55"]
    assert is_gone(first._pid)


def test_a_session_that_has_ended_elsewhere(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], reaper: list[str], called: Path
) -> None:
    """The watcher of another process notices that its heartbeat is forgotten, and leaves."""
    watcher = watch(tmp_path, sleeper)
    assert eventually(lambda: heartbeat.path(tmp_path, "5e55").exists(), every_s=0.005)
    watcher.leave()
    heartbeat.forget(tmp_path, "5e55")
    assert is_gone(watcher._pid)
    assert not called.exists()


def test_a_process_that_is_another_one_by_now(tmp_path: Path, reaper: list[str], called: Path) -> None:
    """The number was given to somebody else before the watcher could look."""
    watcher = Watcher(tmp_path, "5e55", Owner(owner.boot_id(), os.getppid(), 1), os.environ)
    assert eventually(called.exists, every_s=0.01)
    watcher.leave()
    assert is_gone(watcher._pid)


def test_no_room_for_a_heartbeat(
    stack: ExitStack, tmp_path: Path, reaper: list[str], called: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It watches all the same. A folder in the file's place stands in for a full disk."""
    heartbeat.path(tmp_path, "5e55").mkdir(parents=True)
    program = Watched(stack, tmp_path, reaper)
    program.process.kill()
    assert eventually(called.exists, every_s=0.01)
