"""How long something lives, whatever is done to the clocks. They are a test's: nobody may set the machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from envctl.host import clock, lifetime, owner

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def at_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was started 1000 s ago."""
    monkeypatch.setattr(clock, "boot_s", lambda: 1000.0)


def test_without_end() -> None:
    """What was given no time lives for ever."""
    life = lifetime.lasting(None, NOON)
    assert (life.at, life.boot) == (None, None)
    assert lifetime.remaining_s(*life, NOON + 1000 * HOUR) is None


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time has passed on the clock that nobody sets."""
    life = lifetime.lasting(3600, NOON)
    assert life == (NOON + HOUR, (owner.boot_id(), 4600.0))
    assert lifetime.remaining_s(*life, NOON) == 3600
    monkeypatch.setattr(clock, "boot_s", lambda: 4700.0)
    assert lifetime.remaining_s(*life, NOON) == -100


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=-2), 2 * HOUR, timedelta(days=400)])
def test_a_jump_of_the_wall_clock_ends_nothing(jump: timedelta) -> None:
    """Nor does it lengthen a life."""
    life = lifetime.lasting(3600, NOON)
    assert lifetime.remaining_s(*life, NOON + jump) == 3600


@pytest.mark.parametrize("boot", [("another-boot", 5.0), ("", 5.0), None])
def test_after_another_start_the_wall_clock_counts(boot: tuple[str, float] | None) -> None:
    """The other one means nothing any more; also in rows of an older envctl."""
    assert lifetime.remaining_s(NOON + HOUR, boot, NOON) == 3600
    assert lifetime.remaining_s(NOON - HOUR, boot, NOON) == -3600
