"""Time of this machine. The only file in which envctl sleeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock, in UTC: for moments that are written down. It can jump; measure durations with `monotonic_s`."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds since some fixed moment; never runs backwards."""
    return time.monotonic()


def boot_s() -> float:
    """Seconds since the machine was started, sleep included; the same for every process, and nobody can set it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def sleep_s(seconds: float) -> None:
    """Does nothing for `seconds`; returns at once for zero and less."""
    if seconds > 0:
        time.sleep(seconds)
