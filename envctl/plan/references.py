"""The `{service.attribute}` references in `environment` and `export` values. Pure.

The language, whole: `{postgres.url}`, `{mailer.smtp.port}`, `{env.branch}`. Only braces around names joined by dots
are a reference; every other brace is an ordinary character, so JSON and other templates need no escaping. Doubled
braces around a reference write it literally: `{{postgres.url}}` becomes `{postgres.url}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from envctl import kinds
from envctl.errors import ConfigInvalid
from envctl.model import Connection, EnvironmentSpec, Identity, ServiceSpec

ENVIRONMENT = "env"
"""The word before the dot that means the environment itself; a service of that name could not be referred to."""

ATTRIBUTES = ("url", "host", "port", "user", "password", "token", "database", "path")
"""What a service may have. `password` and `token` are the same secret under the name its kind gives it."""

_PORT_ATTRIBUTES = ("url", "host", "port")
_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_DOTTED = rf"{_NAME}(?:\.{_NAME}){{1,2}}"
_REFERENCE = rf"\{{(?P<literal>\{{{_DOTTED}\}})\}}|\{{(?P<dotted>{_DOTTED})\}}"  # compiled where it is needed
_WEB_PORTS = frozenset({"http", "web", "api", "ui"})


class _UnknownReferenceError(Exception):
    """A reference to something that is not there; the text says which and what was probably meant."""


class _Scope(NamedTuple):
    connections: Mapping[str, Connection]
    identity: Identity


def problems(text: str, spec: EnvironmentSpec) -> list[str]:
    """What is wrong with the references in `text`: one sentence each, without position, in the order of the text."""
    scope = _Scope({name: _sample(service) for name, service in spec.services.items()}, _SAMPLE_IDENTITY)
    found = []
    for dotted in _dotted(text):
        try:
            _value(dotted, scope)
        except _UnknownReferenceError as error:
            found.append(str(error))
    return found


def resolve(text: str, connections: Mapping[str, Connection], identity: Identity) -> str:
    """`text` with its references replaced.

    Args:
        text: The value as the configuration gives it.
        connections: By service; as seen from outside, or from inside the stack.
        identity: The environment.

    Raises:
        ConfigInvalid: A reference to something that is not there; `problems` finds these beforehand.
    """
    scope = _Scope(connections, identity)

    def replacement(match: re.Match[str]) -> str:
        return match["literal"] or _value(match["dotted"], scope)

    try:
        return re.sub(_REFERENCE, replacement, text)
    except _UnknownReferenceError as error:
        raise ConfigInvalid(str(error)) from None


def services_in(text: str) -> set[str]:
    """Names of the services that `text` refers to, known or not."""
    return {dotted.partition(".")[0] for dotted in _dotted(text)} - {ENVIRONMENT}


def _dotted(text: str) -> list[str]:
    return [match["dotted"] for match in re.finditer(_REFERENCE, text) if match["dotted"]]


def _value(dotted: str, scope: _Scope) -> str:
    owner, *path = dotted.split(".")
    if owner == ENVIRONMENT:
        return _environment_value(dotted, path, scope.identity)
    connection = scope.connections.get(owner)
    if connection is None:
        raise _unknown(dotted, f"there is no service {owner!r}", owner, [*scope.connections, ENVIRONMENT])
    value = _service_value(connection, path)
    if value is None:
        names = list(_names_in(connection))
        raise _unknown(dotted, f"service {owner!r} has no {'.'.join(path)!r}", ".".join(path), names)
    return value


def _environment_value(dotted: str, path: list[str], identity: Identity) -> str:
    values = {"name": identity.name, "branch": identity.branch, "project": identity.project}
    if len(path) == 1 and path[0] in values:
        return values[path[0]]
    name = ".".join(path)
    raise _unknown(dotted, f"the environment has no {name!r}", name, list(values))


def _service_value(connection: Connection, path: list[str]) -> str | None:
    """The value, or None where the service has no such thing. An attribute wins over a port of the same name."""
    if len(path) == 1 and path[0] in ATTRIBUTES:
        return _attribute(connection, path[0])
    port = connection.ports.get(path[0])
    if port is None or (len(path) == 2 and path[1] not in _PORT_ATTRIBUTES):
        return None
    address = f"{connection.host}:{port}"
    if len(path) == 1:
        return address
    scheme = "http" if path[0] in _WEB_PORTS else "tcp"
    return {"url": f"{scheme}://{address}", "host": connection.host, "port": str(port)}[path[1]]


def _attribute(connection: Connection, name: str) -> str | None:
    if name in {"host", "port", "url"} and connection.port is None:
        return None
    if name in {"password", "token"}:
        return connection.password if name in kinds.get(connection.kind).secrets else None
    value = getattr(connection, name)
    return None if value is None else str(value)


def _names_in(connection: Connection) -> Iterator[str]:
    """Everything that may stand behind the service's name and a dot."""
    yield from (name for name in ATTRIBUTES if _attribute(connection, name) is not None)
    for port in connection.ports:
        yield port
        yield from (f"{port}.{attribute}" for attribute in _PORT_ATTRIBUTES)


def _unknown(dotted: str, problem: str, given: str, choices: list[str]) -> _UnknownReferenceError:
    from difflib import get_close_matches  # only when something is wrong: it costs milliseconds

    close = get_close_matches(given.lower(), choices, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "there is " + (", ".join(choices) or "nothing to refer to")
    return _UnknownReferenceError(f"{{{dotted}}}: {problem}; {hint} (for the text itself write {{{{{dotted}}}}})")


def _sample(service: ServiceSpec) -> Connection:
    """A connection of the shape the service will have, to know beforehand what can be referred to."""
    kind = kinds.get(service.kind)
    ports = {port.name: port.container_port for port in service.ports}
    return kind.connection(service, "host", ports, dict.fromkeys(kind.secrets, "secret"))


_SAMPLE_IDENTITY = Identity(project="", branch="", checkout="", label="", key="", name="")
