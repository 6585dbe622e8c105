"""Who owns something, and whether that process still lives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envctl.host import clock, owner
from envctl.model import Owner


def of(pid: int) -> Owner:
    """The owner that process would write down."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return Owner(owner.current().boot_id, pid, int(fields[19]))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def wait_for_state(pid: int, states: str) -> None:
    deadline = clock.monotonic_s() + 5
    while Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode() not in states:
        assert clock.monotonic_s() < deadline
        clock.sleep_s(0.002)


def test_this_process_is_alive() -> None:
    """An owner that was just written down by a living process is alive."""
    me = owner.current()
    assert me.pid == os.getpid()
    assert me.boot_id
    assert me.start_ticks > 0
    assert owner.is_alive(me)


def test_same_id_of_another_start_time_is_dead() -> None:
    """A process id that was given to another process is no proof of life."""
    me = owner.current()
    assert not owner.is_alive(replace(me, start_ticks=me.start_ticks - 1))


def test_owner_of_an_earlier_boot_is_dead() -> None:
    """After a restart of the machine nobody of before lives, even where the id and start time fit."""
    assert not owner.is_alive(replace(owner.current(), boot_id="00000000-0000-0000-0000-000000000000"))


def test_owner_of_another_pid_namespace_is_never_called_dead() -> None:
    """What runs in another container cannot be seen from here, so its lease is not taken away."""
    boot = owner.current().boot_id.partition("/")[0]
    assert owner.is_alive(Owner(f"{boot}/pid:[1]", 999_999_999, 1))


@pytest.mark.parametrize("unknown", [Owner("", 0, 0), Owner("", -1, 5), Owner("", os.getpid(), 0)])
def test_unknown_is_alive(unknown: Owner) -> None:
    """Only proof of death counts."""
    assert owner.is_alive(unknown)


def test_killed_process_is_dead_also_as_zombie(sleeper: subprocess.Popen[bytes]) -> None:
    """Kill -9 ends ownership, whether or not the parent has collected the process."""
    whose = of(sleeper.pid)
    assert owner.is_alive(whose)
    sleeper.kill()
    wait_for_state(sleeper.pid, "Z")
    assert not owner.is_alive(whose)
    sleeper.wait()
    assert not owner.is_alive(whose)


def test_stopped_process_is_alive_and_said_to_be_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    """A process stopped by a signal keeps what it owns."""
    sleeper.send_signal(signal.SIGSTOP)
    wait_for_state(sleeper.pid, "T")
    assert owner.is_alive(of(sleeper.pid))
    assert owner.is_stopped(of(sleeper.pid))


def test_command_name_with_parentheses_and_blanks(tmp_path: Path) -> None:
    """A program called ") Z 1 (" is neither misread as dead nor able to draw on the terminal."""
    program = tmp_path / ") Z \x1b1 ("
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            whose = of(process.pid)
            assert owner.is_alive(whose)
            assert owner.describe(whose) == ") Z ?1 ("
        finally:
            process.kill()


def test_describe_of_a_dead_owner_is_empty() -> None:
    """The name of whoever has the id now is not reported as the owner's."""
    assert owner.describe(replace(owner.current(), start_ticks=1)) == ""


def test_a_child_is_not_its_parent() -> None:
    """Each process owns for itself."""
    code = "from envctl.host import owner; o = owner.current(); print(o.pid, o.start_ticks, o.boot_id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid, ticks, boot = done.stdout.split()
    assert int(pid) != os.getpid()
    assert int(ticks) >= owner.current().start_ticks
    assert boot == owner.current().boot_id
