"""What a measure yields: two series of figures taken turn by turn, and what they had to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median


@dataclass(frozen=True, slots=True)
class Series:
    """One command's figures, in the order they were taken."""

    label: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def least(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest."""
        return max(self.values)

    def above(self, base: Series) -> Series:
        """What each figure has more than the one that `base` has of the same round."""
        return Series(self.label, tuple(value - low for value, low in zip(self.values, base.values, strict=True)))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure may be at most.

    Attributes:
        absolute: In the row's unit, or None.
        ratio: Of the peer's median, or None.
        all_succeed: Whether every one of the commands must have succeeded.
    """

    absolute: float | None = None
    ratio: float | None = None
    all_succeed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        family: The measure's module.
        what: What was measured.
        unit: `ms`, `s`, `MiB`, or `ms/s`: milliseconds of a processor in each second.
        ours: envctl's figures.
        peer: The peer's, or None where it has none.
        budget: What ours had to keep.
        failed: How many of our commands failed.
        note: What a reader must know beside the figures; in the family `imports`, who imports it first.
    """

    family: str
    what: str
    unit: str
    ours: Series
    peer: Series | None = None
    budget: Budget = field(default_factory=Budget)
    failed: int = 0
    note: str = ""

    def in_ms(self) -> Row:
        """The same, with figures taken in seconds told in milliseconds."""
        return replace(self, ours=_thousandfold(self.ours), peer=_thousandfold(self.peer) if self.peer else None)

    def beside(self, label: str) -> Row:
        """The same, with the peer's figures under another name."""
        return replace(self, peer=replace(self.peer, label=label) if self.peer else None)

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's; None where one is a difference that went below zero."""
        return self.ours.median / self.peer.median if self.peer and self.ours.median >= 0 < self.peer.median else None

    @property
    def verdict(self) -> str:
        """`pass`, `miss`, or `-` where no budget was set or the peer gave nothing to compare with."""
        checks: list[bool] = []
        if self.budget.absolute is not None:
            checks.append(self.ours.median <= self.budget.absolute)
        if self.budget.ratio is not None and self.ratio is not None:
            checks.append(self.ratio <= self.budget.ratio)
        if self.budget.all_succeed:
            checks.append(self.failed == 0)
        if not checks:
            return "-"
        return "pass" if all(checks) else "miss"


def interleave(rounds: int, commands: Mapping[str, Callable[[], float]]) -> dict[str, Series]:
    """Take figures A B C, then B C A, …: each round asks every command once, so that a slow minute slows all alike."""
    cycles = {label: partial(_only, command) for label, command in commands.items()}
    return {label: phases[""] for label, phases in contest(rounds, cycles).items()}


def contest(rounds: int, cycles: Mapping[str, Callable[[], Mapping[str, float]]]) -> dict[str, dict[str, Series]]:
    """The same for commands that belong together, such as `up` and `down`: label -> phase -> its figures."""
    labels = list(cycles)
    taken: dict[str, dict[str, list[float]]] = {label: {} for label in labels}
    for turn in range(rounds):
        first = turn % len(labels)
        for label in (*labels[first:], *labels[:first]):
            for phase, value in cycles[label]().items():
                taken[label].setdefault(phase, []).append(value)
    return {
        label: {phase: Series(label, tuple(values)) for phase, values in phases.items()}
        for label, phases in taken.items()
    }


def _only(command: Callable[[], float]) -> Mapping[str, float]:
    return {"": command()}


def series(label: str, values: Sequence[float]) -> Series:
    """Figures that were taken elsewhere."""
    return Series(label, tuple(values))


def _thousandfold(taken: Series) -> Series:
    return Series(taken.label, tuple(value * 1000 for value in taken.values))
