"""Reading environment variables: typed, with every problem noted instead of raised at the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Reader:
    """Reads variables and notes in ``problems`` what is wrong with them. An empty variable counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def problem(self, name: str, what: str) -> None:
        """Note what is wrong with one variable."""
        self.problems.append(f"{name}: {what}")

    def text(self, name: str, default: str) -> str:
        """The variable as it is."""
        return self._environ.get(name, "") or default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number within limits."""
        raw = self.text(name, str(default))
        if raw.isascii() and raw.isdecimal() and len(raw) <= len(str(high)) and low <= int(raw) <= high:
            return int(raw)
        self.problem(name, f"{raw[:40]!r} is not a whole number from {low} to {high}")
        return default

    def seconds(self, name: str, default: float, *, low: float, high: float) -> float:
        """A duration in seconds within limits."""
        raw = self.text(name, str(default))
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if low <= value <= high:  # false for NaN too
            return value
        self.problem(name, f"{raw[:40]!r} is not a number of seconds from {low:g} to {high:g}")
        return default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of several words, in either case."""
        raw = self.text(name, default)
        if raw.upper() in allowed:
            return raw.upper()
        self.problem(name, f"{raw[:40]!r} is not one of {', '.join(allowed)}")
        return default

    def secret(self, name: str, *, required: bool = False) -> str | None:
        """The value of ``NAME``, or the content of the file that ``NAME_FILE`` names."""
        value, path = self.text(name, ""), self.text(f"{name}_FILE", "")
        if value and path:
            self.problem(name, f"and {name}_FILE are both set; set one")
        elif path:
            return self._secret_file(f"{name}_FILE", path)
        elif required and not value:
            self.problem(name, f"is missing (or {name}_FILE)")
        return value or None

    def _secret_file(self, name: str, path: str) -> str | None:
        try:
            value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
            self.problem(name, f"cannot read {path!r}: {reason}")
            return None
        if not value:
            self.problem(name, f"{path!r} is empty")
        return value or None
