"""Words, quantities and text measured in cells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from envctl.cli.cells import clip, pad, table, width
from envctl.cli.words import did_you_mean, seconds_between, size, span, took
from envctl.report import counted


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0), ("…", 1)])
def test_width_counts_cells(text: str, cells: int) -> None:
    """Ideographs take two cells, combining marks none."""
    assert width(text) == cells
    assert width(pad(text, 9)) == 9


@pytest.mark.parametrize("limit", range(8))
def test_clip_never_exceeds_its_limit(limit: int) -> None:
    """A wide character that does not fit whole is left out."""
    assert width(clip("a日b本cd", limit)) in {limit, max(0, limit - 1)}
    assert "a日b本cd".startswith(clip("a日b本cd", limit))


def test_a_table_leaves_out_empty_columns_and_aligns() -> None:
    """Columns start at the same cell in each line."""
    text = table(("A", "NOTHING", "B"), [("日本", "", "x"), ("a", "", "y")], None)
    assert text == "A     B\n日本  x\na     y\n"


def test_a_table_that_does_not_fit_becomes_blocks() -> None:
    """Nothing is cut."""
    assert table(("A", "B"), [("one", "a long value"), ("two", "")], 10) == "one\n  a long value\n\ntwo\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h"), (3661, "1h1m"), (90000, "1d1h"), (86401, "1d")],
)
def test_spans_have_at_most_two_units(seconds: float, text: str) -> None:
    """To read at a glance."""
    assert span(seconds) == text


def test_marked_rows_have_a_star_in_front() -> None:
    """Beside the others' names, which stay below each other; a block has it before its name."""
    rows = [("one", "x"), ("two", "y")]
    assert table(("A", "B"), rows, 10, marked=[1]) == "  A    B\n  one  x\n* two  y\n"
    assert table(("A", "B"), rows, 6, marked=[1]) == "one\n  x\n\n* two\n  y\n"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        *((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9960, "10 kB"), (999_499, "999 kB")),
        *((999_999, "1.0 MB"), (47_721_432, "48 MB"), (3_210_000_000, "3.2 GB"), (2e15, "2000.0 TB")),
    ],
)
def test_sizes_are_round(amount: float, text: str) -> None:
    """Two or three digits and a unit."""
    assert size(amount) == text


def test_small_words() -> None:
    """Plurals, durations of work, moments that are none, hints."""
    assert counted({"container": 3, "network": 1, "volume": 0}) == "3 containers, 1 network"
    assert [took(0.654), took(12.34), took(125)] == ["0.65 s", "12.3 s", "2m5s"]
    later = datetime(2026, 11, 22, 10, 1, tzinfo=UTC)
    assert seconds_between("2026-11-22T10:00:00Z", later) == 60
    assert seconds_between("2026-11-22T10:00:00", later) is None
    assert seconds_between("yesterday", later) is None
    assert did_you_mean("postgre", ["postgres", "redis"]) == ["did you mean postgres?"]
    assert did_you_mean("zzz", ["postgres"]) == []
