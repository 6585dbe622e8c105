"""Locks between processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from envctl.errors import Busy, UsageError
from envctl.host import clock, locks, owner

HOLD = """
import sys
from pathlib import Path
from envctl.host import locks
with locks.environment_lock(Path(sys.argv[1]), "a", timeout_s=10, purpose="envctl up") as lock:
    print(lock.fd, flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def take(
    state: Path, *, timeout_s: float = 0, name: str = "a", on_wait: locks.OnWait | None = None
) -> AbstractContextManager[locks.Lock]:
    return locks.environment_lock(state, name, timeout_s=timeout_s, purpose="a test", on_wait=on_wait)


def test_second_process_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    """The error names pid and purpose, and is marked as worth a retry."""
    with held_by_another(tmp_path) as process:
        with pytest.raises(Busy) as caught, take(tmp_path):
            pass
        assert caught.value.subject == {"pid": process.pid, "purpose": "envctl up"}
        assert f"pid {process.pid} (envctl up, " in caught.value.message
        assert caught.value.retryable


def test_other_environments_are_not_affected(tmp_path: Path) -> None:
    """Each environment, and each shared thing, has a lock of its own."""
    with (
        held_by_another(tmp_path),
        take(tmp_path, name="b"),
        locks.machine_lock(tmp_path, "build-1", timeout_s=0, purpose="x"),
    ):
        pass


def test_lock_is_free_after_kill(tmp_path: Path) -> None:
    """Kill -9 of the holder gives the lock back at once."""
    with held_by_another(tmp_path) as process:
        process.kill()
        process.wait()
        with take(tmp_path):
            pass


def test_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    """An engine process that outlives us still works on the environment, so nobody else may."""
    with take(tmp_path) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fd])
    try:
        with pytest.raises(Busy), take(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with take(tmp_path):
        pass


def test_child_that_is_not_given_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    """Whatever else was started does not hold an environment for ever."""
    with take(tmp_path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with take(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_dead_holder_of_an_inherited_lock_is_described_as_left_running(tmp_path: Path) -> None:
    """The message does not tell to wait for a process that is gone."""
    with take(tmp_path) as lock:
        pass
    dead = lock.path.read_text().replace(f'"start_ticks": {owner.current().start_ticks}', '"start_ticks": 1')
    lock.path.write_text(dead)
    assert "left running" in locks.holder_text(lock.path)


def test_stopped_holder_keeps_its_lock_and_is_said_to_be_stopped(tmp_path: Path) -> None:
    """A lock is never stolen from a living process."""
    with held_by_another(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with pytest.raises(Busy) as caught, take(tmp_path):
            pass
        assert "stopped" in caught.value.message


def test_waiter_gets_the_lock_soon_after_release(tmp_path: Path) -> None:
    """Waiting costs at most some 50 ms more than necessary."""
    with held_by_another(tmp_path) as process:
        released_at: list[float] = []

        def release() -> None:
            released_at.append(clock.monotonic_s())
            process.kill()

        timer = threading.Timer(0.3, release)
        timer.start()
        try:
            with take(tmp_path, timeout_s=10):
                assert clock.monotonic_s() - released_at[0] < 0.25
        finally:
            timer.join()


def test_waiter_is_told_for_whom_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, not at once, a sentence names the holder. The while is shortened."""
    monkeypatch.setattr(locks, "_FIRST_NOTICE_S", 0.1)
    heard: list[str] = []
    with held_by_another(tmp_path) as process:
        with pytest.raises(Busy), take(tmp_path, timeout_s=0.05, on_wait=heard.append):
            pass
        assert heard == []
        with pytest.raises(Busy), take(tmp_path, timeout_s=0.3, on_wait=heard.append):
            pass
        assert len(heard) == 1
        assert heard[0].startswith(f"waiting for pid {process.pid} (envctl up, ")


def test_file_is_private_and_permanent(tmp_path: Path) -> None:
    """The lock file stays (removing it would split the lock in two), and only the owner can read it."""
    before = os.umask(0)
    try:
        with take(tmp_path) as lock:
            inode = lock.path.stat().st_ino
    finally:
        os.umask(before)
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    with take(tmp_path) as lock:
        assert lock.path.stat().st_ino == inode


def test_symbolic_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Somebody's link does not make us truncate another file."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "locks").mkdir(mode=0o700)
    (tmp_path / "locks" / "env-a.lock").symlink_to(victim)
    with pytest.raises(Exception, match="cannot write"), take(tmp_path):
        pass
    assert victim.read_text() == "untouched"


def test_lock_file_removed_by_hand_does_not_split_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wins a file that has just lost its name tries again with the one that has it; the moment is provoked."""
    real = locks.fcntl.flock
    removed: list[Path] = []

    def remove_first(fd: int, operation: int) -> None:
        if not removed:
            removed.append(tmp_path / "locks" / "env-a.lock")
            removed[0].unlink()
        real(fd, operation)

    monkeypatch.setattr(locks.fcntl, "flock", remove_first)
    with take(tmp_path, timeout_s=5) as lock:
        assert lock.path.stat().st_ino == os.fstat(lock.fd).st_ino
        with pytest.raises(Busy), take(tmp_path):
            pass


def test_garbage_in_the_lock_file_is_no_problem(tmp_path: Path) -> None:
    """What is written inside is for people only."""
    with take(tmp_path) as lock:
        lock.path.write_bytes(b"\xff{")
        with pytest.raises(Busy) as caught, take(tmp_path):
            pass
    assert "another envctl process" in caught.value.message


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """No lock file is ever made elsewhere."""
    with pytest.raises(UsageError), take(tmp_path, name=name):
        pass
    with pytest.raises(ValueError, match="lock name"), locks.machine_lock(tmp_path, name, timeout_s=0, purpose="x"):
        pass


def test_many_processes_never_overlap(tmp_path: Path) -> None:
    """5 processes, 30 turns each: no turn is inside another, none is lost."""
    code = """
import sys
from pathlib import Path
from envctl.host import locks
state = Path(sys.argv[1]); inside = state / "inside"; count = state / "count"
for _ in range(30):
    with locks.environment_lock(state, "a", timeout_s=60, purpose="x"):
        inside.mkdir()
        count.write_text(str(int(count.read_text()) + 1))
        inside.rmdir()
"""
    (tmp_path / "count").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(5)]
    assert [child.wait(60) for child in children] == [0] * 5
    assert (tmp_path / "count").read_text() == "150"
