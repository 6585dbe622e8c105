"""Which of a server's logical databases is for what."""

from __future__ import annotations

from envctl.kinds.redis.kind import DATABASES, LIVE

__all__ = ["BASELINE", "DATABASES", "LIVE", "NOTES", "banked", "spare"]

NOTES = DATABASES - 1
"""Holds what cannot stand beside the keys themselves: their TTLs, who is at work, what the baseline is."""

BASELINE = NOTES - 1
"""Holds what a reset goes back to."""


def spare(number: int) -> int:
    """Where the next content of a database is built by a reset."""
    return LIVE + number


def banked(number: int) -> int:
    """Where the content of a database is kept while a snapshot is written or read."""
    return 2 * LIVE + number
