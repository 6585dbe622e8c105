"""Print the Compose document of this environment.

Plain `docker compose` accepts it. Passwords are read from variables, unless `--secrets` writes them into it.

Examples:
  envctl render
  envctl render --secrets | docker compose -f - config
"""

from __future__ import annotations

import click

from envctl import environment
from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.settings import Settings


@command(__doc__)
@click.option("--secrets", is_flag=True, help="With the passwords, so that it runs as it is. Keep it to yourself.")
def command_line(settings: Settings, *, secrets: bool) -> None:
    """Print it."""
    document = environment.render(settings.selection(), inline_secrets=secrets)
    output.write(document if document.endswith("\n") else document + "\n")
