"""Text measured in terminal cells: an ideograph takes two, a combining accent none."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def width(text: str) -> int:
    """Cells that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    from unicodedata import combining, east_asian_width

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in {"W", "F"} else 1


def clip(text: str, limit: int) -> str:
    """`text`, cut to at most `limit` cells."""
    if width(text) <= limit:
        return text
    kept, used = [], 0
    for character in text:
        used += _cells(character)
        if used > limit:
            break
        kept.append(character)
    return "".join(kept)


def pad(text: str, wanted: int) -> str:
    """`text`, filled with spaces to `wanted` cells."""
    return text + " " * max(0, wanted - width(text))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], limit: int | None, *, marked: Collection[int] = ()
) -> str:
    """Rows in columns; where they do not fit into `limit` cells, each row becomes a small block of lines.

    Columns without any value are left out. Nothing is cut: people copy from here.

    Args:
        headers: The columns' names.
        rows: As many values in each.
        limit: Width of the terminal, or None.
        marked: Numbers of the rows that get a star in front, as `git branch` has it.
    """
    used = [i for i, _ in enumerate(headers) if any(row[i] for row in rows)]
    headers = [headers[i] for i in used]
    rows = [[row[i] for i in used] for row in rows]
    widths = [max(map(width, column)) for column in zip(headers, *rows, strict=True)]
    if limit is not None and sum(widths) + 2 * (len(widths) - (0 if marked else 1)) > limit:
        return "\n".join(("* " if i in marked else "") + _block(headers, row) for i, row in enumerate(rows))
    lines = ["  ".join(map(pad, row, widths)).rstrip() for row in (headers, *rows)]
    if marked:
        lines = [("* " if i in marked else "  ") + line for i, line in enumerate(lines, start=-1)]
    return "\n".join(lines) + "\n"


def _block(headers: Sequence[str], row: Sequence[str]) -> str:
    lines = [row[0], *(f"  {value}" for header, value in zip(headers[1:], row[1:], strict=True) if value)]
    return "\n".join(lines) + "\n"
