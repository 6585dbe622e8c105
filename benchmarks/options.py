"""What the command line chooses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        runs: Figures per command that takes seconds; quick commands get more.
        at_once: How many environments are brought up at the same time, one measure each.
    """

    runs: int = 5
    at_once: tuple[int, ...] = (10, 25, 40)

    @property
    def quick_runs(self) -> int:
        """Figures per command that takes tens of milliseconds."""
        return self.runs * 4
