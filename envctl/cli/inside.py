"""Running a program inside a service, with our terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from envctl import environment
from envctl.cli import output
from envctl.cli.services import find_service, first_of_kind
from envctl.cli.settings import Settings
from envctl.model import Connection


def run_inside(
    settings: Settings,
    service: str,
    command: Sequence[str],
    *,
    terminal: bool | None = None,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Run `command` in `service`; its exit code. It gets a terminal where we have one, unless `terminal` says."""
    if terminal is None:
        terminal = output.is_terminal(sys.stdin) and output.is_terminal(sys.stdout)
    return environment.execute(
        settings.selection(), service, command, tty=terminal, stdin=sys.stdin is not None, variables=variables
    )


def client_target(settings: Settings, kind: str, service: str | None) -> Connection:
    """The service a client program is for: the one named, or the first of its kind. Raises ServiceNotFound."""
    report = environment.recorded(settings.selection(), dirty_too=True)
    return find_service(report, service or first_of_kind(report, kind)).connection
