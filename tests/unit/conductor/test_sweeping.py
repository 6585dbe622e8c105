"""Whether something is due by what is written down, and that a sweep is begun once for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import stand_in as sample

from envctl.conductor import sweeping
from envctl.host import background, clock, locks, owner
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, Owner, SessionRequest

DEAD = replace(owner.current(), start_ticks=1)


def made(registry: Registry, branch: str, *, of: Owner | None = None, ttl_s: float | None = None) -> EnvironmentRecord:
    """An environment that is up, made for a session where it is of somebody."""
    session = SessionRequest(branch, "pytest", of) if of else None
    found, _ = registry.claim(
        sample.identity(branch), engine="compose", endpoint=sample.ADDRESS, ttl_s=ttl_s, session=session
    )
    registry.set_state(found.identity.name, EnvironmentState.READY)
    return now(registry, branch)


def now(registry: Registry, branch: str) -> EnvironmentRecord:
    found = registry.find(name=sample.identity(branch).name)
    assert found is not None
    return found


@pytest.fixture
def hours_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that nobody sets is a test's: hours cannot be waited for."""
    later_s = clock.boot_s() + 7200
    monkeypatch.setattr(clock, "boot_s", lambda: later_s)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would be started in the background; what that does is told by tests/embedded."""
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(background, "start", lambda command, _: commands.append(command))
    return commands


def test_what_nobody_uses_is_due(registry: Registry) -> None:
    """What was made for a session whose process has died; the last one is named."""
    assert sweeping.due(registry, made(registry, "plain")) is None
    assert sweeping.due(registry, made(registry, "used", of=owner.current())) is None
    cause = sweeping.due(registry, made(registry, "killed", of=DEAD))
    assert cause == f"what used it has ended: pytest (pid {os.getpid()})"
    killed = now(registry, "killed")
    assert sweeping.due(registry, replace(killed, state=EnvironmentState.DOWN)) is None, "its data is kept on purpose"
    registry.begin_session(killed.identity.name, SessionRequest("second", "pytest", owner.current()))
    assert sweeping.due(registry, now(registry, "killed")) is None


def test_what_has_expired_is_due(registry: Registry, hours_later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody uses it; a wall clock that was set ends nothing."""
    later_s = clock.boot_s()
    monkeypatch.setattr(clock, "boot_s", lambda: later_s - 7200)
    made(registry, "short", ttl_s=60)
    made(registry, "long", ttl_s=86400)
    made(registry, "used", of=owner.current(), ttl_s=60)
    moment = clock.now()
    monkeypatch.setattr(clock, "now", lambda: moment.replace(year=moment.year + 5))
    assert [sweeping.due(registry, one) for one in registry.all()] == [None, None, None]
    monkeypatch.setattr(clock, "boot_s", lambda: later_s)
    causes = {one.identity.branch: sweeping.due(registry, one) for one in registry.all()}
    assert causes == {"short": "it has expired", "long": None, "used": None}


def test_a_sweep_is_begun_once(
    registry: Registry, environ: dict[str, str], started: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where nothing is due, not from within one, and not again just after one."""
    state = Path(environ["ENVCTL_STATE_DIR"])
    made(registry, "plain")
    made(registry, "used", of=owner.current(), ttl_s=60)
    sweeping.start_if_due(registry, state, environ)
    assert started == []
    made(registry, "killed", of=DEAD)
    sweeping.start_if_due(registry, state, {**environ, background.MARK: "1"})
    assert started == []
    sweeping.start_if_due(registry, state, environ)
    assert [command[-2:] for command in started] == [["sweep", str(state)]]
    with locks.machine_lock(state, sweeping.LOCK, timeout_s=0, purpose="a sweep"):
        pass
    sweeping.start_if_due(registry, state, environ)
    assert len(started) == 1
    moment = clock.now()
    for year in (moment.year - 1, moment.year + 1):  # a clock that was set
        monkeypatch.setattr(clock, "now", lambda year=year: moment.replace(year=year))
        sweeping.start_if_due(registry, state, environ)
    assert len(started) == 3


def test_no_process_can_be_started(
    registry: Registry, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is at its limit: the command goes on, and the next one tries again."""

    def refuse(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(background, "start", refuse)
    made(registry, "killed", of=DEAD)
    sweeping.start_if_due(registry, Path(environ["ENVCTL_STATE_DIR"]), environ)
