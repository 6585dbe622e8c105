"""Why a process ended, and being told when it does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kept_services import Kept, eventually, is_running

from envctl.engines.local.deaths import Deaths, autopsy
from envctl.engines.local.records import ProcessRecord
from envctl.model import Death


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with Kept(tmp_path / "stack") as kept:
        yield kept


def kill(record: ProcessRecord, number: int = signal.SIGKILL) -> None:
    assert record.process is not None
    os.kill(record.process.pid, number)


def test_autopsy(kept: Kept) -> None:
    """Exit code, time and last lines without their times."""
    death = autopsy(kept.run("a", ["sh", "-c", "seq 30; sleep 0.2; exit 3"]))
    assert (death.service, death.exit_code) == ("a", 3)
    assert death.log_tail == tuple(str(number) for number in range(11, 31))
    assert death.ran_s is not None
    assert 0.2 <= death.ran_s < 10


def test_autopsy_at_once(kept: Kept) -> None:
    """Who asks the moment a process ends is told the exit code all the same: its keeper is given time to note it."""
    for number in range(5):
        record = kept.start(f"s{number}", ["sleep", "100"])
        kill(record)
        eventually(lambda record=record: not is_running(record.process.pid))
        assert autopsy(record).exit_code == 137


def test_only_this_start_is_quoted(kept: Kept) -> None:
    """Lines of an earlier start explain nothing."""
    kept.run("a", ["sh", "-c", "echo before"])
    eventually(lambda: not is_running(kept.keepings[0].pid))
    assert autopsy(kept.run("a", ["sh", "-c", "echo now; exit 1"])).log_tail == ("now",)


def test_program_that_went_to_the_background(kept: Kept) -> None:
    """A first process that ends without an error while others of it go on is explained."""
    death = autopsy(kept.run("a", ["sh", "-c", "setsid sleep 100 & echo started"]))
    assert death.exit_code == 0
    assert death.log_tail[0] == "started"
    assert "foreground" in death.log_tail[1]


def test_keeper_that_was_killed(kept: Kept) -> None:
    """Nobody knows the exit code then, and nobody waits for it."""
    record = kept.start("a", ["sh", "-c", "echo one; sleep 100"])
    eventually(lambda: kept.said("a"))
    os.kill(kept.keepings[0].pid, signal.SIGKILL)
    kill(record)
    eventually(lambda: not is_running(record.process.pid))  # type: ignore[union-attr]  # it is there
    assert autopsy(record) == Death("a", log_tail=("one",))


def test_never_started(kept: Kept) -> None:
    """What has no process has no story."""
    assert autopsy(ProcessRecord(kept.root / "a", {})) == Death("a")


def test_end_of_what_ran_before_is_told(kept: Kept) -> None:
    """A process that was started by an earlier command is watched by the kernel's means; each end is told once."""
    found = [kept.start(name, ["sleep", "100"]) for name in "abc"]
    told: list[Death] = []
    with Deaths().watch(found, told.append):
        kill(found[1])
        eventually(lambda: told)
        kill(found[2], signal.SIGTERM)
        eventually(lambda: len(told) == 2)
    assert [(death.service, death.exit_code) for death in told] == [("b", 137), ("c", 143)]


def test_what_is_dead_already_is_not_told(kept: Kept) -> None:
    """Only an end while one watches is news; an id that is somebody else's now is no sign of life."""
    record = kept.run("a", ["true"])
    other = kept.start("b", ["sleep", "100"])
    assert other.process is not None
    stale = replace(other, process=replace(other.process, start_ticks=1))
    told: list[Death] = []
    with Deaths().watch([record, stale, ProcessRecord(kept.root / "c", {})], told.append):
        pass
    assert told == []


def test_watching_leaves_nothing(kept: Kept) -> None:
    """When the block ends, no thread and no descriptor stays, and what was attached is let go."""
    found = [kept.start(name, ["sleep", "100"]) for name in "ab"]
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    deaths = Deaths()
    closed: list[str] = []
    assert not deaths.attach(lambda: closed.append("early"))
    for _ in range(3):
        with deaths.watch(found, lambda _: None):
            assert deaths.attach(lambda: closed.append("late"))
    assert closed == ["late"] * 3
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_keepers_news_reach_who_watches() -> None:
    """What the keeper tells goes to the one who watches now, and to nobody else."""
    deaths, told = Deaths(), []
    deaths.ended(Death("early"))
    with deaths.watch([], told.append):
        deaths.ended(Death("a"))
    deaths.ended(Death("late"))
    assert told == [Death("a")]
