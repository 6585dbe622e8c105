"""Which of a server's logical databases is for what. Pure: the numbers stand in the server's settings too."""

from __future__ import annotations

LIVE = 128
"""Databases 0 to 127 are the tests': the environment's own, and one for each worker."""

BASELINE = 3 * LIVE
"""Holds what a reset goes back to."""

NOTES = BASELINE + 1
"""Holds what cannot stand beside the keys themselves: their TTLs, who is at work, what the baseline is."""

DATABASES = NOTES + 1
"""So many a server is started with. Those that are empty cost next to nothing."""


def spare(number: int) -> int:
    """Where the next content of a database is built by a reset."""
    return LIVE + number


def banked(number: int) -> int:
    """Where the content of a database is kept while a snapshot is written or read."""
    return 2 * LIVE + number
