"""Durations and sizes as people write them, and back.

Durations are those of systemd and Go cut down to what a configuration needs; sizes are Docker's, binary in every
spelling (`1k` = `1kb` = `1KiB` = 1024 bytes).
"""

from __future__ import annotations

import re
from itertools import pairwise

DURATION_FORM = '"500ms", "30s", "5m", "2h", "7d" or together "1h30m"'
SIZE_FORM = '"256m", "1g" or "1.5g" (k, m, g, t; 1k = 1024 bytes)'

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_DURATION_PART = re.compile(_NUMBER + r"(ms|[smhd])")
_SIZE = re.compile(_NUMBER + r"([bkmgt])(?:i?b)?", re.IGNORECASE)

_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def duration_s(text: str) -> float:
    """The duration `text` in seconds.

    Raises:
        ValueError: It is none, or its units do not go from large to small; the message shows the allowed form.
    """
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration; write {DURATION_FORM}")
    sizes = [_SECONDS[unit] for _, unit in parts]
    if any(left <= right for left, right in pairwise(sizes)):
        raise ValueError(f"not a duration: units go from large to small, each once; write {DURATION_FORM}")
    return sum(float(number) * size for (number, _), size in zip(parts, sizes, strict=True))


def size_bytes(text: str) -> int:
    """The size `text` in bytes.

    Raises:
        ValueError: It is none; the message shows the allowed form.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size; write {SIZE_FORM}")
    return round(float(match[1]) * _BYTES[match[2].lower()])


def format_duration(seconds: float) -> str:
    """`seconds`, to the millisecond, in the form `duration_s` reads: "812ms", "1.5s", "1h30m"."""
    total_ms = round(seconds * 1000)
    if total_ms < 1000:
        return f"{total_ms}ms" if total_ms else "0s"
    minutes, left_ms = divmod(total_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if count]
    return "".join([*parts, f"{left_ms / 1000:g}s" if left_ms else ""])


def format_size(size: int) -> str:
    """`size` in bytes in the form `size_bytes` reads: exact where a unit divides it ("512m"), else to one decimal."""
    unit = next((u for u in "tgmk" if size >= _BYTES[u]), "b")
    return f"{size // _BYTES[unit]}{unit}" if size % _BYTES[unit] == 0 else f"{size / _BYTES[unit]:.1f}{unit}"
