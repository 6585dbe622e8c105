"""How long an environment lives after its last use, on clocks of which one may be set to another time.

The wall clock can jump by hours, forwards too, and then everything would seem to have expired. The clock that counts
from the machine's start cannot be set, but means nothing after the next start. So an end is written down on both, and
the first one counts only where the second says nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from envctl.host import clock, owner


class Lifetime(NamedTuple):
    """When something ends, on both clocks; None for never.

    Attributes:
        at: On the wall clock, UTC.
        boot: Boot id, and seconds since that boot.
    """

    at: datetime | None = None
    boot: tuple[str, float] | None = None


def lasting(ttl_s: float | None, now: datetime) -> Lifetime:
    """A lifetime of so many seconds from now on, or one without end."""
    if ttl_s is None:
        return Lifetime()
    return Lifetime(now + timedelta(seconds=ttl_s), (owner.boot_id(), clock.boot_s() + ttl_s))


def remaining_s(at: datetime | None, boot: tuple[str, float] | None, now: datetime) -> float | None:
    """Seconds to its end, less than zero after it; None where there is none."""
    if at is None:
        return None
    if boot is not None and boot[0] and boot[0] == owner.boot_id():
        return boot[1] - clock.boot_s()
    return (at - now).total_seconds()
