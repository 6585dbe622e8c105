"""Open redis-cli inside the Redis service, logged in.

All arguments go to redis-cli; options of envctl stand before the word redis-cli.

Examples:
  envctl redis-cli
  envctl redis-cli ping
  envctl redis-cli --service cache set greeting 'hello world'
"""

from __future__ import annotations

import click

from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.inside import client_target, run_inside
from envctl.cli.settings import Settings


@command(__doc__, selects=False, passes_on=True)
@click.option("--service", metavar="NAME", shell_complete=complete_services, help="Which Redis; the first one else.")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def command_line(settings: Settings, service: str | None, arguments: tuple[str, ...]) -> int:
    """Open it."""
    target = client_target(settings, "redis", service)
    command_words = ["redis-cli", "-n", target.database or "0", *arguments]
    return run_inside(settings, target.service, command_words, variables={"REDISCLI_AUTH": target.password or ""})
