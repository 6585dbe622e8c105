"""Open psql inside the Postgres service.

It is logged in as the owner of the database. All arguments go to psql; options of envctl stand before the word psql.
The service's own psql is used, so nothing need be installed here; files are read through stdin.

Examples:
  envctl psql
  envctl psql -c 'select version()'
  envctl --branch main psql --csv -c 'table users' > users.csv
"""

from __future__ import annotations

import click

from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.inside import client_target, run_inside
from envctl.cli.settings import Settings


@command(__doc__, selects=False, passes_on=True)
@click.option("--service", metavar="NAME", shell_complete=complete_services, help="Which Postgres; the first one else.")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def command_line(settings: Settings, service: str | None, arguments: tuple[str, ...]) -> int:
    """Open it."""
    target = client_target(settings, "postgres", service)
    command_words = ["psql", "-U", target.user or "postgres", "-d", target.database or "postgres", *arguments]
    # The official image trusts its own socket; where an image does not, the password is there, and in no argv.
    return run_inside(settings, target.service, command_words, variables={"PGPASSWORD": target.password or ""})
