"""What is told of a long operation, line by line."""

from __future__ import annotations

import pytest

from envctl.cli import live, progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's time, to be changed: seconds cannot be made to pass otherwise."""
    time = [100.0]
    for module in (progress, live):
        monkeypatch.setattr(module, "monotonic_s", lambda: time[0])
    return time


@pytest.mark.parametrize("teller", [progress.Plain(), live.Live(color=False)])
def test_time_is_of_this_environment(teller: progress.Plain | live.Live, now: list[float]) -> None:
    """A service that made data before, in an environment that goes, begins anew in the one that was asked for."""
    for at_s, phase in enumerate(("creating", "ready", "keeping", "removing")):
        now[0] = 100.0 + 10 * at_s
        teller.phase("postgres", phase)
    now[0] = 200.0
    teller.phase("postgres", "creating")
    assert teller._services["postgres"].since_s == 200.0
    now[0] = 201.0
    teller.phase("postgres", "ready")
    assert teller._services["postgres"].since_s == 200.0
