"""Telling what a long operation is doing: live on a terminal, in a few plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from envctl.cli import output
from envctl.cli.settings import Settings
from envctl.cli.words import took
from envctl.host.clock import monotonic_s
from envctl.host.log import redact
from envctl.host.terminal import escape
from envctl.report import Progress, Silent

_TOLD = {"pulling", "building", "ready", "failed"}
_REMINDER_S = 10.0


@contextmanager
def start(settings: Settings) -> Iterator[Progress]:
    """Tell about the block's work on stderr, in the way that suits who reads it."""
    watched = output.is_terminal(sys.stderr)
    if settings.format == "json" and not watched:
        yield Silent()  # a program reads stderr, and expects nothing or one error there
    elif watched and not settings.logs and os.environ.get("TERM") != "dumb":
        from envctl.cli.live import Live

        with Live(color=output.colors(sys.stderr, no_color=settings.no_color)) as live:
            yield live
    else:
        yield Plain()


@dataclass(slots=True)
class _Service:
    """What was told of one service."""

    since_s: float
    told_s: float
    phase: str = ""


class Plain:
    """One line when a phase begins that takes long or ends the work, and a reminder while nothing else happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._services: dict[str, _Service] = {}

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        """Tell of it where it is worth a line."""
        with self._lock:
            now = monotonic_s()
            known = self._services.setdefault(service, _Service(now, now))
            news = phase != known.phase and phase in _TOLD
            overdue = now - known.told_s >= _REMINDER_S
            known.phase = phase
            if news or overdue:
                known.told_s = now
                seen = f"  {_safe(detail)}" if detail and (overdue or phase == "failed") else ""
                output.say(f"{service:<10}  {phase:<8}  {took(now - known.since_s)}{seen}")

    def note(self, text: str) -> None:
        """Tell it."""
        with self._lock:
            output.say(_safe(text))


def _safe(text: str) -> str:
    return escape(redact(text), limit=300)
