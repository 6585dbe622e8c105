"""Run a command inside a service.

The exit code is the command's. It gets a terminal when stdin and stdout are one. Options of envctl stand before the
service's name.

Examples:
  envctl exec postgres -- pg_dump -U app app > dump.sql
  envctl exec redis -- sh
  envctl exec --branch main websocket -- env
"""

from __future__ import annotations

import click

from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.inside import run_inside
from envctl.cli.settings import Settings


@command(__doc__, stops=True)
@click.argument("service", shell_complete=complete_services)
@click.argument("words", metavar="-- COMMAND [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-T", "--no-tty", is_flag=True, help="No terminal for the command, even where there is one.")
def command_line(settings: Settings, service: str, words: tuple[str, ...], *, no_tty: bool) -> int:
    """Run it."""
    command_words = words[1:] if words[0] == "--" else words
    if not command_words:
        raise click.UsageError("missing the command to run")
    return run_inside(settings, service, command_words, terminal=False if no_tty else None)
