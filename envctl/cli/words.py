"""Words and quantities as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

GOES = frozenset({"keeping", "removing", "removed"})
"""Phases in which a service of another environment goes, such as the maker of its data: what follows begins anew."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def did_you_mean(word: str, known: Sequence[str]) -> list[str]:
    """A hint at the known words most like `word`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=2)
    return [f"did you mean {' or '.join(close)}?"] if close else []


def span(seconds: float) -> str:
    """A duration by its two largest units, to read and not to parse: "3h12m", "45s"."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return "".join(parts[:2]) or "0s"


def took(seconds: float) -> str:
    """How long something took: "0.65 s", "12.3 s", "2m5s"."""
    if seconds >= 100:
        return span(seconds)
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def size(amount_bytes: float) -> str:
    """An amount of bytes, in units of thousands: "812 kB", "4.7 MB", "47 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount_bytes < 999.5:
            return f"{amount_bytes:.1f} {unit}" if unit != "B" and amount_bytes < 9.95 else f"{amount_bytes:.0f} {unit}"
        amount_bytes /= 1000
    return f"{amount_bytes:.1f} TB"


def seconds_between(earlier: str, later: datetime) -> float | None:
    """Seconds from an ISO 8601 moment to another, or None where the text is none."""
    try:
        return (later - datetime.fromisoformat(earlier)).total_seconds()
    except (TypeError, ValueError):
        return None
