"""What the command line chooses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        runs: Figures per command that takes seconds; quick commands get more.
        at_once: How many environments are brought up at the same time, one measure each.
        embedded_at_once: The same without containers.
        listed: How many environments there are while quick commands are timed.
        idle_s: How long environments that nobody uses are watched.
        hand_outs: How many databases one worker is handed in a round.
        tables: How many tables databases have that are reset.
        touched: How many rows are touched before a reset.
        keys: How many keys of Redis are put back.
    """

    runs: int = 5
    at_once: tuple[int, ...] = (10, 25, 40)
    embedded_at_once: int = 30
    listed: int = 10
    idle_s: float = 5.0
    hand_outs: int = 40
    tables: tuple[int, ...] = (10, 30, 100, 300, 1_000)
    touched: tuple[int, ...] = (1, 10, 100, 1_000, 10_000, 100_000)
    keys: tuple[int, ...] = (10, 1_000, 100_000, 1_000_000)

    @property
    def quick_runs(self) -> int:
        """Figures per command that takes tens of milliseconds."""
        return self.runs * 4

    @property
    def fine_runs(self) -> int:
        """Figures of which a small difference is what counts."""
        return self.runs * 8

    @property
    def slow_runs(self) -> int:
        """Figures that take ten seconds each and vary little."""
        return min(self.runs, 3)


QUICK = Options(1, (3,), 3, 3, 1.0, hand_outs=5, tables=(10, 30), touched=(1, 100), keys=(10, 1_000))
"""To see whether it works at all."""
