"""Finding a service in a report, and showing an environment's services."""

from __future__ import annotations

from envctl.cli.words import did_you_mean
from envctl.errors import ServiceNotFound
from envctl.host.log import redact
from envctl.host.terminal import Redactor, escape
from envctl.model import Connection, ServiceState
from envctl.report import EnvironmentReport, ServiceReport


def find_service(report: EnvironmentReport, name: str) -> ServiceReport:
    """The service called `name`. Raises ServiceNotFound, with what was probably meant."""
    if name in report.services:
        return report.services[name]
    raise ServiceNotFound(
        f'environment {report.identity.name} has no service "{name}"',
        fix=[*did_you_mean(name, list(report.services)), f"its services: {', '.join(report.services) or 'none'}"],
        subject={"service": name},
    )


def first_of_kind(report: EnvironmentReport, kind: str) -> str:
    """Name of the environment's first service of a kind. Raises ServiceNotFound."""
    for name, service in report.services.items():
        if service.connection.kind == kind:
            return name
    raise ServiceNotFound(f"environment {report.identity.name} has no service of kind {kind}", subject={"kind": kind})


def secrets(report: EnvironmentReport) -> list[str]:
    """Every password and token of the environment."""
    return [s.connection.password for s in report.services.values() if s.connection.password]


def address(connection: Connection) -> str:
    """Where the service is, without its password."""
    return f"{connection.host}:{connection.port}" if connection.port is not None else ""


def masked_url(connection: Connection) -> str:
    """The URL without its password, as it may stand on a screen and in a CI job's log."""
    hide = Redactor([connection.password] if connection.password else [])
    return escape(redact(hide(connection.url)))


def ready_count(report: EnvironmentReport) -> int:
    """How many services are ready."""
    return sum(service.state is ServiceState.READY for service in report.services.values())
