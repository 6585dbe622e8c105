"""Process groups of a program whose parent was killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from harness import eventually

from envctl.host import clock, groups, owner, stragglers


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, script: str) -> tuple[int, int]:
    """A shell that leads a group and has said that it has begun; its number and start time."""
    process = stack.enter_context(
        subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, process_group=0)
    )

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    stack.callback(kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    found = owner.of(process.pid)
    assert found is not None
    return process.pid, found.start_ticks


@pytest.mark.parametrize(
    "script",
    [
        "sleep 60 & echo begun; wait",
        "trap '' TERM; echo begun; sleep 60; sleep 60",
        "(trap '' TERM; echo begun; sleep 60; sleep 60) & trap 'exit 0' TERM; wait",
        "echo begun; kill -STOP $$; sleep 60",
    ],
    ids=["obeys", "ignores it", "a member ignores it", "is stopped"],
)
def test_all_of_it_ends(stack: ExitStack, script: str) -> None:
    """Leader and members, whatever they do about it."""
    pid, ticks = start(stack, script)
    assert groups.end(pid, ticks, 0.3)
    assert eventually(lambda: not stragglers.running(pid), every_s=0.01)


def test_it_has_the_time_it_was_given(stack: ExitStack) -> None:
    """Who ends in good order is not killed."""
    pid, ticks = start(stack, "trap 'sleep 0.2; echo good; exit 0' TERM; echo begun; while :; do sleep 0.05; done")
    began_s = clock.monotonic_s()
    assert groups.end(pid, ticks, 10)
    assert 0.2 <= clock.monotonic_s() - began_s < 5


def test_somebody_else_is_left_alone(stack: ExitStack) -> None:
    """A number that is another process's by now, or nobody's."""
    pid, ticks = start(stack, "echo begun; exec sleep 60")
    assert not groups.end(pid, ticks - 1, 1)
    assert stragglers.running(pid)
    assert not groups.end(4_000_000, ticks, 1)


def test_one_that_leads_no_group_ends_alone(stack: ExitStack) -> None:
    """A program that has gone to another group: those who are there are others'."""
    with subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 60; sleep 60"]) as process:
        found = owner.of(process.pid)
        assert found is not None
        assert groups.end(process.pid, found.start_ticks, 0.1)
        assert process.wait(timeout=5) in (-signal.SIGKILL, -signal.SIGTERM)
