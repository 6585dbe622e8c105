"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

BASE_S = 0.05
CAP_S = 5.0


class Backoff:
    """Exponential back-off with full jitter: the limit doubles, and the delay is drawn from all of it.

    Drawing from the whole range keeps replicas that lost the same server from coming back in step.
    """

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._failures = 0

    def next_delay_s(self) -> float:
        """The delay after one more failure."""
        # The exponent is capped as well: 2.0**1024 would overflow during a long outage.
        limit_s = min(CAP_S, BASE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._draw(0.0, limit_s)

    def reset(self) -> None:
        """Start again from the quick retries."""
        self._failures = 0
