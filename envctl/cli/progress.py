"""Telling what a long operation is doing: live on a terminal, in a few plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import click

from envctl.cli import output
from envctl.cli.settings import Settings
from envctl.cli.words import GOES, took
from envctl.host.clock import monotonic_s
from envctl.host.log import redact
from envctl.host.terminal import escape
from envctl.report import Progress, Silent

_TOLD = {"pulling", "building", "ready", "failed"}
_REMINDER_S = 10.0


@contextmanager
def start(settings: Settings, title: str = "") -> Iterator[Progress]:
    """Tell about the block's work on stderr, in the way that suits who reads it.

    Args:
        settings: How much is to be told.
        title: What a CI system folds it under; the command's name by default.
    """
    watched = output.is_terminal(sys.stderr)
    if settings.format == "json" and not watched:
        yield Silent()  # a program reads stderr, and expects nothing or one error there
    elif watched and not settings.logs and os.environ.get("TERM") != "dumb":
        from envctl.cli.live import Live

        with Live(color=output.colors(sys.stderr, no_color=settings.no_color)) as live:
            yield live
    elif output.ci_system():
        from envctl.cli.ci_output import group

        with ExitStack() as folded:
            name = title or click.get_current_context().command_path
            yield Plain(before=lambda: folded.enter_context(group(name)))
    else:
        yield Plain()


@dataclass(slots=True)
class _Service:
    """What was told of one service."""

    since_s: float
    told_s: float
    phase: str = ""


class Plain:
    """One line when a phase begins that takes long or ends the work, and a reminder while nothing else happens.

    Args:
        before: Called before the first line.
    """

    def __init__(self, before: Callable[[], object] | None = None) -> None:
        self._before = before
        self._lock = threading.Lock()
        self._services: dict[str, _Service] = {}

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        """Tell of it where it is worth a line."""
        with self._lock:
            now = monotonic_s()
            known = self._services.setdefault(service, _Service(now, now))
            if known.phase in GOES and phase not in GOES:
                known.since_s = now
            news = phase != known.phase and phase in _TOLD
            overdue = now - known.told_s >= _REMINDER_S
            known.phase = phase
            if news or overdue:
                known.told_s = now
                seen = f"  {_safe(detail)}" if detail and (overdue or phase == "failed") else ""
                self._say(f"{service:<10}  {phase:<8}  {took(now - known.since_s)}{seen}")

    def note(self, text: str) -> None:
        """Tell it."""
        with self._lock:
            self._say(_safe(text))

    def _say(self, line: str) -> None:
        if self._before is not None:
            self._before()
            self._before = None
        output.say(line)


def _safe(text: str) -> str:
    return escape(redact(text), limit=300)
