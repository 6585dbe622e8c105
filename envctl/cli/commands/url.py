"""Print one service's URL.

It holds the password. Answered from what was recorded when the environment became ready: no engine is asked.

Examples:
  envctl url postgres
  envctl url mailer --port http
  psql "$(envctl url postgres)" -c 'select 1'
"""

from __future__ import annotations

import click

from envctl import environment
from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.services import find_service
from envctl.cli.settings import Settings
from envctl.errors import UsageError
from envctl.model import Connection

_HTTP = {"http", "web", "api", "ui"}


@command(__doc__, formats=("text", "json"))
@click.argument("service", shell_complete=complete_services)
@click.option("--port", metavar="NAME", help="One of its other ports.")
def command_line(settings: Settings, service: str, port: str | None) -> None:
    """Print it."""
    form = settings.choose_format(("text", "json"))
    connection = find_service(environment.recorded(settings.selection()), service).connection
    url = _url(connection, port)
    if form == "json":
        output.write_json({"service": service, "url": url})
    else:
        output.write(url + "\n")


def _url(connection: Connection, port: str | None) -> str:
    if port is None:
        if not connection.url:
            raise UsageError(f'service "{connection.service}" has no port, so it has no URL')
        return connection.url
    if port not in connection.ports:
        known = ", ".join(connection.ports) or "none"
        raise UsageError(f'service "{connection.service}" has no port "{port}"', fix=[f"its ports: {known}"])
    number = connection.ports[port]
    if number == connection.port:
        return connection.url
    return f"{'http' if port in _HTTP else 'tcp'}://{connection.host}:{number}"
