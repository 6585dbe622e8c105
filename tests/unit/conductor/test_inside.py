"""Looking into services: what "since" may be."""

from __future__ import annotations

import pytest

from envctl.conductor.inside import moment
from envctl.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5m", "300.000s"), ("7d", "604800.000s"), ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00+00:00")],
)
def test_durations_and_moments(text: str, expected: str) -> None:
    """Engines know no days, so durations are handed on in seconds; again changes nothing."""
    assert moment(text) == expected
    assert moment(expected) == expected


def test_a_moment_nobody_understands() -> None:
    """It is told before any engine is asked."""
    with pytest.raises(UsageError):
        moment("yesterday-ish")
