"""A block of lines at the bottom of a terminal that tells how far each service is.

The cursor is never hidden, each frame is one write, and no line is as wide as the terminal: so there is nothing to
restore after a signal, nothing flickers, and a narrow terminal does not wrap.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass

from envctl.cli import output
from envctl.cli.cells import clip, pad, width
from envctl.cli.words import GOES
from envctl.host.clock import monotonic_s
from envctl.host.log import redact
from envctl.host.terminal import escape

FRAME_S = 0.1
_ENDED = {"removing": "removed"}
_COLORS = {**dict.fromkeys(("ready", "removed", "saved", "restored"), output.GREEN), "failed": output.RED}


@dataclass(slots=True)
class _Service:
    """How far one service is."""

    since_s: float
    phase: str = ""
    detail: str = ""
    until_s: float | None = None


class Live:
    """The block, drawn anew ten times a second between `__enter__` and `__exit__`."""

    def __init__(self, *, color: bool) -> None:
        symbols = output.unicode_terminal()
        self._color = color
        self._marks = dict(zip(_COLORS, "✔✔✔✔✘" if symbols else "++++x", strict=True))
        self._frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if symbols else "|/-\\"
        self._still = "·" if symbols else "-"
        self._frame = 0
        self._services: dict[str, _Service] = {}
        self._drawn: list[int] = []  # width of each line that is on the terminal now
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="envctl-progress", daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            if kind is None:
                for known in self._services.values():
                    known.phase = _ENDED.get(known.phase, known.phase)
            self._frames = self._still
            self._draw()
            if self._drawn:
                output.say("")  # what follows stands apart

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        """Show it from the next frame on."""
        with self._lock:
            now = monotonic_s()
            known = self._services.setdefault(service, _Service(now))
            if known.phase in GOES and phase not in GOES:
                known.since_s = now
            known.phase, known.detail = phase, _safe(detail)
            known.until_s = now if phase in _COLORS else None

    def note(self, text: str) -> None:
        """Write it above the block."""
        with self._lock:
            self._draw(above=f"{_safe(text)}\x1b[K\n")

    def _redraw(self) -> None:
        while not self._stop.wait(FRAME_S):
            with self._lock:
                self._frame += 1
                self._draw()

    def _draw(self, above: str = "") -> None:
        """Replace the block on the terminal. Call with the lock held."""
        try:
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
        except (OSError, ValueError):
            return
        columns, rows = columns or 80, rows or 24
        # A terminal that became narrower has wrapped the old lines: they take more rows now.
        height = min(sum(max(1, -(-cells // columns)) for cells in self._drawn), rows - 1)
        lines = self._lines(columns - 1, rows - 1)
        self._drawn = [width(text) for text, _ in lines]
        if above or lines:
            painted = "".join(f"{output.paint(t[:1], c, on=self._color)}{t[1:]}\x1b[K\n" for t, c in lines)
            output.say_exactly((f"\x1b[{height}A" if height else "") + f"\r{above}{painted}\x1b[J")

    def _lines(self, columns: int, rows: int) -> list[tuple[str, str]]:
        """The block's lines with the colour of their first character."""
        names = max(map(len, self._services), default=0)
        lines = [(clip(self._text(name, names), columns), self._code(name)) for name in self._services]
        if len(lines) <= rows:
            return lines
        hidden = len(lines) - rows + 1
        return [*lines[: rows - 1], (clip(f"  and {hidden} more", columns), output.CYAN)]

    def _code(self, name: str) -> str:
        return _COLORS.get(self._services[name].phase, output.CYAN)

    def _text(self, name: str, names: int) -> str:
        known = self._services[name]
        mark = self._marks.get(known.phase) or self._frames[self._frame % len(self._frames)]
        elapsed_s = (known.until_s or monotonic_s()) - known.since_s
        detail = f"  {known.detail}" if known.detail and known.phase not in {"ready", "removed"} else ""
        return f"{mark} {pad(name, names)}  {known.phase:<8}  {elapsed_s:4.1f} s{detail}"


def _safe(text: str) -> str:
    return escape(redact(text), limit=300)
