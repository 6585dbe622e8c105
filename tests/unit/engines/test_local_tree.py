"""Ending process trees: all of ours, whatever they do against it, and nobody else's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kept_services import PYTHON, Kept, eventually, is_running

from envctl.engines.local import census, handle, tree
from envctl.engines.local.records import ProcessRecord
from envctl.engines.local.tree import Stop
from envctl.host import clock, owner
from envctl.model import Owner, ServiceState

DAEMON = """
import os, time
if os.fork(): os._exit(0) if {parent_ends} else time.sleep(1000)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
os.closerange(0, 10)
time.sleep(1000)
"""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with Kept(tmp_path / "stack") as kept:
        yield kept


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as program:
        yield program
        assert program.poll() is None, "a program that is not ours was ended"
        program.kill()


def first(record: ProcessRecord) -> Owner:
    assert record.process is not None
    return record.process


def identity(pid: int) -> Owner:
    found = census.look_at(pid)
    assert found is not None
    return Owner(owner.current().boot_id, pid, found.start_ticks)


# -- ending -----------------------------------------------------------------------------------------------------------


def test_service_is_asked_to_end(kept: Kept) -> None:
    """It gets the signal and the time to end by itself; then its keeper has noted that and is gone too."""
    record = kept.start("a", ["sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done"])
    eventually(lambda: kept.said("a"))
    assert tree.end([Stop(record)]) == []
    assert (kept.record("a").exit_code, kept.said("a")) == (5, ["up", "bye"])
    assert not is_running(kept.keepings[0].pid)


def test_signal_of_its_own(kept: Kept) -> None:
    """The first process gets the signal that was chosen."""
    record = kept.start("a", ["sh", "-c", "trap 'exit 6' INT; echo; while :; do sleep 0.01; done"])
    eventually(lambda: kept.said("a"))
    assert tree.end([Stop(record, signal.SIGINT)]) == []
    assert kept.record("a").exit_code == 6


def test_service_that_ignores_the_signal(kept: Kept) -> None:
    """What does not end within the grace is killed, children too."""
    record = kept.start("a", ["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; sleep 1000"])
    child = kept.pid_said("a")
    began_s = clock.monotonic_s()
    assert tree.end([Stop(record, signal.SIGTERM, 0.3)]) == []
    assert 0.3 <= clock.monotonic_s() - began_s < 3
    assert kept.record("a").exit_code == 137
    assert not is_running(child)


def test_kill_waits_for_nothing(kept: Kept) -> None:
    """SIGKILL as the signal ends all at once, whatever the grace."""
    record = kept.start("a", ["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000"])
    began_s = clock.monotonic_s()
    assert tree.end([Stop(record, signal.SIGKILL, 100.0)]) == []
    assert clock.monotonic_s() - began_s < 5
    assert kept.record("a").exit_code == 137


def test_several_end_side_by_side(kept: Kept) -> None:
    """Services that take their time take it at the same time."""
    keeping = kept.keeper()
    script = "trap 'sleep 0.5; exit 0' TERM; echo; while :; do sleep 0.01; done"
    found = [kept.start(name, ["sh", "-c", script], keeping) for name in "abcd"]
    eventually(lambda: all(kept.said(name) for name in "abcd"))
    keeping.no_more()
    began_s = clock.monotonic_s()
    assert tree.end([Stop(record) for record in found]) == []
    assert clock.monotonic_s() - began_s < 1.5
    assert [kept.record(name).exit_code for name in "abcd"] == [0] * 4


def test_keeper_of_others_is_left(kept: Kept) -> None:
    """Ending one service leaves the others and their keeper alone."""
    keeping = kept.keeper()
    a, b = (kept.start(name, ["sleep", "1000"], keeping) for name in "ab")
    keeping.no_more()
    assert tree.end([Stop(a)]) == []
    assert kept.record("b").state is ServiceState.RUNNING
    eventually(lambda: kept.record("a").exit_code == 143)
    assert tree.end([Stop(b)]) == []
    assert not is_running(keeping.pid)


def test_stopped_processes_end(kept: Kept) -> None:
    """A stopped process is woken so that it can end."""
    record = kept.start("a", ["sh", "-c", "trap 'exit 8' TERM; echo; while :; do sleep 0.01; done"])
    eventually(lambda: kept.said("a"))
    os.kill(first(record).pid, signal.SIGSTOP)
    eventually(lambda: owner.is_stopped(first(record)))
    assert tree.end([Stop(record)]) == []
    assert kept.record("a").exit_code == 8


def test_keeper_that_does_not_end_is_killed(kept: Kept) -> None:
    """A stopped keeper keeps nobody waiting for long."""
    record = kept.start("a", ["sleep", "1000"])
    os.kill(kept.keepings[0].pid, signal.SIGSTOP)
    assert tree.end([Stop(record)]) == []
    assert not is_running(kept.keepings[0].pid)


def test_nothing_to_end(kept: Kept) -> None:
    """What was never started, or has ended, costs only a look."""
    record = kept.run("a", ["true"])
    assert tree.end([]) == []
    assert tree.end([Stop(record), Stop(ProcessRecord(kept.root / "b", {}))]) == []


# -- finding ----------------------------------------------------------------------------------------------------------


def test_family_is_all_of_it(kept: Kept, bystander: subprocess.Popen[bytes]) -> None:
    """Children, grandchildren, other sessions: each is found, and nothing else."""
    record = kept.start(
        "a", ["sh", "-c", "echo $$; (setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' &); wait; sleep 9"]
    )
    eventually(lambda: len(kept.said("a")) == 3)
    pids = {int(line) for line in kept.said("a")}
    eventually(lambda: pids <= {process.pid for process in tree.family([record])})
    found = {process.pid for process in tree.family([record])}
    assert not found & {os.getpid(), kept.keepings[0].pid, bystander.pid, os.getppid()}
    assert tree.end([Stop(record)]) == []
    assert not any(is_running(pid) for pid in found)


@pytest.mark.parametrize("parent_ends", [False, True])
def test_daemon_is_found_and_ended(kept: Kept, parent_ends: bool) -> None:
    """A process that forked twice into a session of its own belongs to its service, also after that has ended."""
    record = kept.start("a", [PYTHON, "-c", DAEMON.format(parent_ends=parent_ends)])
    daemon = kept.pid_said("a")
    eventually(lambda: is_running(first(record).pid) is not parent_ends)
    assert daemon in {process.pid for process in tree.family([record])}
    assert tree.end([Stop(record)]) == []
    assert not is_running(daemon)


def test_orphan_is_found_by_its_variable(kept: Kept) -> None:
    """After `kill -9` of the keeper and of the parent, a child in a session of its own is still found."""
    record = kept.start("a", [PYTHON, "-c", DAEMON.format(parent_ends=False)])
    daemon = kept.pid_said("a")
    for pid in (kept.keepings[0].pid, first(record).pid):
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: not is_running(pid))
    assert is_running(daemon)
    assert {process.pid for process in tree.family([record])} == {daemon}
    assert tree.end([Stop(record)]) == []
    assert not is_running(daemon)


def test_session_counts_below_the_keeper(kept: Kept) -> None:
    """A child that dropped its variables is found by its session when its parent is gone, as its keeper adopted it."""
    script = "env -i sh -c 'echo $$; while :; do sleep 0.05; done' & sleep 1000"
    record = kept.start("a", ["sh", "-c", script])
    child = kept.pid_said("a")
    os.kill(first(record).pid, signal.SIGKILL)
    eventually(lambda: kept.told("a")[-1] == "ended")
    assert child in {process.pid for process in tree.family([record])}
    assert tree.end([Stop(record)]) == []
    assert not is_running(child)


def test_program_that_runs_us_does_not_end_us(kept: Kept, tmp_path: Path) -> None:
    """A service that ends its own environment is ended, but not the command that does it."""
    program = (
        "import subprocess, sys, pathlib\n"
        "from envctl.engines.local import tree, records\n"
        "helper = subprocess.Popen(['sleep', '1000'])\n"
        f"left = tree.end([tree.Stop(records.read(pathlib.Path({str(kept.root / 'a')!r})), 9)])\n"
        f"pathlib.Path({str(tmp_path / 'done')!r}).write_text(f'{{left}} {{helper.poll()}}')\n"
        "helper.kill()\n"
    )
    kept.start("a", ["sh", "-c", 'echo; "$0" -c "$1"; sleep 1000', sys.executable, program])
    eventually(lambda: (tmp_path / "done").exists() and (tmp_path / "done").read_text() == "[] None")
    assert not is_running(first(kept.record("a")).pid)


def test_process_that_forks_while_it_is_killed(kept: Kept) -> None:
    """A program that flees by forking all the time is caught."""
    # By itself it ends after 30 s: should it ever escape, it does not keep the machine busy for good.
    flee = (
        "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nlast_s = time.time() + 30\n"
        "while time.time() < last_s:\n    if os.fork(): os._exit(0)"
    )
    began_s = time.monotonic()
    record = kept.start("a", [PYTHON, "-S", "-c", flee])
    eventually(lambda: kept.told("a")[-1] == "ended")

    def is_seen() -> bool:
        return record.cookie in {cookie for _, cookie in census.newest(32)}

    eventually(is_seen)
    assert tree.end([Stop(record, signal.SIGTERM, 0.1)]) == []
    assert not any(is_seen() for _ in range(50))
    assert time.monotonic() - began_s < 25, "it was ended, and did not end by itself"


def test_many_children_at_once(kept: Kept) -> None:
    """A program that goes on making children is ended with all of them."""
    breed = "import os, time\nfor _ in range(200):\n    if os.fork() == 0: break\nwhile True: time.sleep(0.01)"
    record = kept.start("a", [PYTHON, "-S", "-c", breed])
    eventually(lambda: len(tree.family([record])) > 50)
    assert tree.end([Stop(record, signal.SIGKILL)]) == []
    assert tree.family([record]) == set()


@pytest.fixture
def no_pidfd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel without pidfds; none can be had here, so the call is made to fail as it fails there."""

    def absent(*_: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    handle._has_pidfd.cache_clear()
    monkeypatch.setattr(os, "pidfd_open", absent)
    yield
    handle._has_pidfd.cache_clear()


@pytest.mark.usefixtures("no_pidfd")
def test_kernel_without_pidfds(kept: Kept) -> None:
    """Trees are ended there too, with grace, and their keepers."""
    record = kept.start("a", [PYTHON, "-c", DAEMON.format(parent_ends=False)])
    stubborn = kept.start("b", ["sh", "-c", "trap '' TERM; echo; sleep 1000"])
    daemon = kept.pid_said("a")
    eventually(lambda: kept.said("b"))
    assert tree.end([Stop(record, signal.SIGTERM, 0.2), Stop(stubborn, signal.SIGTERM, 0.2)]) == []
    assert not is_running(daemon)
    assert [kept.record(name).exit_code for name in "ab"] == [143, 137]


@pytest.mark.usefixtures("no_pidfd")
def test_without_pidfds_nobody_elses(bystander: subprocess.Popen[bytes]) -> None:
    """There too a process that has ended is not signalled by its id, nor one that started at another time."""
    with subprocess.Popen(["sleep", "1000"]) as ours:
        process = census.look_at(ours.pid)
        assert process is not None
        fd = handle.take(process)
        assert fd is not None
        ours.kill()
    assert handle.wait([fd], 5.0) == [fd]
    with pytest.raises(ProcessLookupError):
        handle.send(fd, process._replace(pid=bystander.pid), signal.SIGKILL)
    os.close(fd)
    theirs = census.look_at(bystander.pid)
    assert theirs is not None
    assert handle.take(theirs._replace(start_ticks=1)) is None


# -- nobody else's ----------------------------------------------------------------------------------------------------


def test_id_that_is_somebody_elses_now(kept: Kept, bystander: subprocess.Popen[bytes]) -> None:
    """A process with the recorded id but another start time is never signalled, nor is its session."""
    theirs = identity(bystander.pid)
    stale = replace(theirs, start_ticks=theirs.start_ticks - 1)
    record = ProcessRecord(kept.root / "a", {}, process=stale, keeper=stale, cookie="c")
    assert tree.family([record]) == set()
    assert tree.end([Stop(record, signal.SIGKILL, 0.0)]) == []


def test_another_boot(kept: Kept, bystander: subprocess.Popen[bytes]) -> None:
    """What was recorded before the machine was started again is gone."""
    before = replace(identity(bystander.pid), boot_id="00000000-0000-0000-0000-000000000000")
    record = ProcessRecord(kept.root / "a", {}, process=before, keeper=before, cookie="c")
    assert tree.family([record]) == set()
    assert tree.end([Stop(record, signal.SIGKILL, 0.0)]) == []


def test_another_namespace(kept: Kept, bystander: subprocess.Popen[bytes]) -> None:
    """A process of a container that shares the state directory cannot be ended from here, which is said."""
    theirs = replace(identity(bystander.pid), boot_id=owner.current().boot_id + "/pid:[1]")
    record = ProcessRecord(kept.root / "a", {}, process=theirs, keeper=theirs, cookie="c")
    (left,) = tree.end([Stop(record, signal.SIGKILL, 0.0)])
    assert '"a"' in left
    assert "PID namespace" in left


def test_another_cookie(kept: Kept) -> None:
    """Two services differ by their cookies; one whose cookie only begins alike is another."""
    a, b = kept.start("a", ["sleep", "1000"]), kept.start("b", ["sleep", "1000"])
    gone = replace(first(a), start_ticks=1, pid=first(a).pid)
    assert tree.family([replace(a, process=gone, cookie=a.cookie[:-1])]) == set()
    assert {process.pid for process in tree.family([a])} == {first(a).pid}
    assert tree.end([Stop(a)]) == []
    assert b.state is ServiceState.RUNNING


_REUSE = """
import json, os, pathlib, signal, subprocess, sys
from envctl.engines.local import census, records, tree
from envctl.host import owner
from envctl.model import Owner

folder = pathlib.Path(sys.argv[1])
ours = subprocess.Popen(["sleep", "1000"])
ticks = census.look_at(ours.pid).start_ticks
identity = Owner(owner.current().boot_id, ours.pid, ticks)
record = records.ProcessRecord(folder, {}, process=identity, keeper=identity, cookie="c")
assert [p.pid for p in tree.family([record])] == [ours.pid]
ours.kill(); ours.wait()
import time; deadline = time.monotonic() + 10
while True:  # the id again, for a program that leads a session of its own
    pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(ours.pid - 1))
    other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if other.pid == ours.pid and census.look_at(other.pid).start_ticks != ticks:
        break
    other.kill(); other.wait()
    assert time.monotonic() < deadline, "the id was not given again"
assert tree.family([record]) == set()
assert tree.end([tree.Stop(record, signal.SIGKILL, 0.0)]) == []
assert other.poll() is None, "a foreign process was signalled"
identity = Owner(identity.boot_id, other.pid, census.look_at(other.pid).start_ticks)
assert tree.end([tree.Stop(records.ProcessRecord(folder, {}, process=identity, cookie="c"), signal.SIGKILL)]) == []
assert other.wait() == -9
print("proven")
"""


def test_id_that_was_given_again(tmp_path: Path) -> None:
    """The kernel is made to give a recorded id to another program, which is then not signalled."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if os.geteuid() != 0:
        unshare[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*unshare, "test", "-w", "/proc/sys/kernel/ns_last_pid"], capture_output=True).returncode:
        pytest.skip(
            "NOT TESTED: the reuse of a process id cannot be forced here (no PID namespaces, or no ns_last_pid)"
        )
    ended = subprocess.run(
        [*unshare, "--kill-child", sys.executable, "-c", _REUSE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.split() == ["proven"], ended.stderr


def test_signal_goes_to_the_process_that_was_looked_at(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the id changes hands between the search and the signal, the start time is seen to differ in between.

    The moment cannot be hit from outside: what the search finds is therefore made to be old.
    """
    record = kept.start("a", ["sleep", "1000"])
    real = census.take
    old = {pid: process._replace(start_ticks=process.start_ticks - 1) for pid, process in real().items()}
    aged = replace(record, process=replace(first(record), start_ticks=first(record).start_ticks - 1))
    looks = iter([census.Everyone(old)])
    monkeypatch.setattr(census, "take", lambda: next(looks, None) or real())
    assert tree.end([Stop(replace(aged, cookie="none"), signal.SIGKILL, 0.0)], keepers=False) == []
    assert record.state is ServiceState.RUNNING


def test_a_look_is_quick() -> None:
    """Looking at all processes takes microseconds for each."""
    began = time.perf_counter()
    number = len(census.take())
    assert (time.perf_counter() - began) / number < 0.002
