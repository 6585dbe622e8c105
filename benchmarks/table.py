"""Rows as text for a terminal or a page, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.figures import Budget, Row, Series

_SMALL, _TINY = 10, 1  # below that, a whole number says too little
_SMALL_RATIO, _TINY_RATIO = 0.1, 0.001
_IMPORTS = "imports"
IMPORTS_HEAD = ("imported", "ms", "ms without what it imports itself", "first asked for by")
HEAD = ("measure", "unit", "envctl: median (min-max)", "n", "peer: median (min-max)", "peer", "ratio", "budget", "")


def as_text(rows: Sequence[Row]) -> str:
    """Aligned columns; notes below. Imports in a table of their own."""
    measured, imported = apart(rows)
    notes = [f"  {row.what}: {row.note}" for row in measured if row.note]
    parts = [[*_aligned([HEAD, *map(cells, measured)]), *notes]] if measured else []
    parts += [_aligned([IMPORTS_HEAD, *map(_import_cells, imported)])] if imported else []
    return "\n\n".join("\n".join(part) for part in parts)


def as_markdown(rows: Sequence[Row]) -> str:
    """A table for a page; notes below."""
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    table = _markdown([HEAD, *map(cells, rows)])
    return "\n".join([*table, "", *notes] if notes else table)


def imports_as_markdown(rows: Sequence[Row]) -> str:
    """The rows of the family `imports`, as a table for a page."""
    return "\n".join(_markdown([IMPORTS_HEAD, *map(_import_cells, rows)]))


def apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """What was measured, and what was imported."""
    return [row for row in rows if row.family != _IMPORTS], [row for row in rows if row.family == _IMPORTS]


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _markdown(lines: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (lines[0], tuple("---" for _ in lines[0]), *lines[1:])]


def _import_cells(row: Row) -> tuple[str, ...]:
    alone = f"{row.peer.median:.1f}" if row.peer else "-"
    return row.what, f"{row.ours.median:.1f}", alone, row.note


def cells(row: Row) -> tuple[str, ...]:
    """One row's cells."""
    peer = row.peer
    return (
        row.what,
        row.unit,
        _spread(row.ours, row.unit),
        str(len(row.ours.values)),
        _spread(peer, row.unit) if peer else "-",
        peer.label if peer else "-",
        _ratio(row.ratio) if row.ratio else "-",
        _budget(row.budget, row.unit),
        row.verdict,
    )


def _ratio(ratio: float) -> str:
    if ratio < _TINY_RATIO:
        return f"< {_TINY_RATIO}"
    return f"{ratio:.2f}" if ratio >= _SMALL_RATIO else f"{ratio:.3f}"


def _spread(taken: Series, unit: str) -> str:
    digits = 2 if unit == "s" or taken.median < _TINY else 1 if taken.median < _SMALL else 0
    middle = f"{taken.median:.{digits}f}"
    return middle if len(taken.values) == 1 else f"{middle} ({taken.least:.{digits}f}-{taken.most:.{digits}f})"


def _budget(budget: Budget, unit: str) -> str:
    parts = [f"≤ {budget.absolute:g} {unit}"] if budget.absolute is not None else []
    parts += [f"≤ {budget.ratio:g} x"] if budget.ratio is not None else []
    parts += ["all succeed"] if budget.all_succeed else []
    return ", ".join(parts) or "-"


def as_json(rows: Sequence[Row], facts: Mapping[str, object]) -> dict[str, Any]:
    """Everything, the single figures included."""
    return {
        "machine": dict(facts),
        "rows": [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in rows],
    }


def from_json(document: Mapping[str, Any]) -> list[Row]:
    """The rows of `as_json`."""
    return [_row(dict(row)) for row in document["rows"]]


def _row(known: dict[str, Any]) -> Row:
    del known["ratio"], known["verdict"]
    known["ours"] = _series(known["ours"])
    known["peer"] = _series(known["peer"]) if known["peer"] else None
    known["budget"] = Budget(**known["budget"])
    return Row(**known)


def _series(known: Mapping[str, Any]) -> Series:
    return Series(known["label"], tuple(known["values"]))
