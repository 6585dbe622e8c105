"""Print what the services wrote.

Control characters of a service are shown, not obeyed; its colours are dropped.

Examples:
  envctl logs
  envctl logs -f websocket
  envctl logs --tail 50 --since 5m postgres
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator

import click

from envctl import environment
from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings
from envctl.errors import Interrupted
from envctl.host.terminal import escape

_FORMATS = ("text", "json")
_COLOR_SEQUENCE = re.compile(r"\x1b\[[0-9;:]*m")
_LONGEST = 20_000


@command(__doc__, formats=_FORMATS)
@click.argument("services", metavar="[SERVICE]...", nargs=-1, shell_complete=complete_services)
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--tail", "tail_lines", type=click.IntRange(0), metavar="N", help="Only the last N lines of each.")
@click.option("--since", metavar="WHEN", help="Only what is newer: 5m, 2h, or a moment such as 2026-11-22T10:00:00Z.")
def command_line(
    settings: Settings, services: tuple[str, ...], *, follow: bool, tail_lines: int | None, since: str | None
) -> int:
    """Print it."""
    form = settings.choose_format(_FORMATS)
    lines = environment.logs(settings.selection(), services, follow=follow, tail_lines=tail_lines, since=since)
    try:
        if form == "json":
            _print_json(lines)
        else:
            _print_text(lines, prefix=len(services) != 1, settings=settings)
    except Interrupted as interrupted:
        if not follow or interrupted.signal_number != signal.SIGINT:
            raise
        return interrupted.exit  # the ordinary end of following
    return 0


def _print_json(lines: Iterator[tuple[str, str]]) -> None:
    for service, line in lines:
        output.write(output.json_text({"service": service, "line": line}) + "\n")


def _print_text(lines: Iterator[tuple[str, str]], *, prefix: bool, settings: Settings) -> None:
    colored = output.colors(sys.stdout, no_color=settings.no_color)
    seen: dict[str, str] = {}
    for service, line in lines:
        code = seen.setdefault(service, output.SERVICE_COLORS[len(seen) % len(output.SERVICE_COLORS)])
        safe = output.harmless(escape(_COLOR_SEQUENCE.sub("", line.rstrip("\r\n")), limit=_LONGEST))
        name = f"{service:<{max(map(len, seen))}} |"
        output.write(f"{output.paint(name, code, on=colored)} {safe}\n" if prefix else f"{safe}\n")
