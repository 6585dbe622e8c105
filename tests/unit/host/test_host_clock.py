"""The clock."""

from __future__ import annotations

from datetime import UTC

from envctl.host import clock


def test_now_is_utc() -> None:
    """Moments that are written down carry their zone."""
    assert clock.now().tzinfo is UTC


def test_sleep_lasts_as_long_as_asked_and_never_for_negative_times() -> None:
    """A wait is not cut short, and a time that is already over is no error."""
    start = clock.monotonic_s()
    clock.sleep_s(0.01)
    assert clock.monotonic_s() - start >= 0.01
    clock.sleep_s(-1)
