"""The variables an environment exports, in the order they are printed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from envctl import kinds
from envctl.model import Connection, EnvironmentSpec, Identity
from envctl.plan.references import resolve


def variables(
    identity: Identity, engine: str, spec: EnvironmentSpec, connections: Mapping[str, Connection]
) -> dict[str, str]:
    """Every variable, by name: the environment's own, each service's, the ecosystem's names, then the user's `export`.

    Where names meet, the more explicit one stands: `export` over all, a service's own over the ecosystem's.

    Args:
        identity: The environment; its branch may hold any character.
        engine: Name of the engine it runs on.
        spec: Gives the order of services and the `export` section.
        connections: By service, as seen from outside. A service without one is left out.
    """
    reachable = [connections[name] for name in spec.services if name in connections]
    result = {
        "ENVCTL_ENV": identity.name,
        "ENVCTL_PROJECT": identity.project,
        "ENVCTL_BRANCH": identity.branch,
        "ENVCTL_ENGINE": engine,
    }
    for connection in reachable:
        result |= service_variables(connection)
    for name, value in _ecosystem(reachable).items():
        result.setdefault(name, value)
    for name, value in spec.export.items():
        result[name] = resolve(value, connections, identity)
    return result


def service_variables(connection: Connection) -> dict[str, str]:
    """The variables of one service: `<SERVICE>_HOST`, `_PORT`, `_URL` and what its kind adds; none without a port."""
    own: dict[str, str] = {}
    if connection.port is not None:
        own = {"HOST": connection.host, "PORT": str(connection.port), "URL": connection.url}
    own |= kinds.get(connection.kind).variables(connection)
    return {f"{prefix(connection.service)}_{prefix(name)}": value for name, value in own.items()}


def prefix(service: str) -> str:
    """A service's name as the beginning of its variables: `object-store` gives `OBJECT_STORE`."""
    return service.upper().replace("-", "_")


def secrets_of(connections: Mapping[str, Connection]) -> tuple[str, ...]:
    """Every password and token, also as it stands in a URL, longest first, for masking and redaction."""
    passwords = {connection.password for connection in connections.values() if connection.password}
    spellings = passwords | {quote(password, safe="") for password in passwords}
    return tuple(sorted(spellings, key=lambda secret: (-len(secret), secret)))


def _ecosystem(connections: list[Connection]) -> dict[str, str]:
    """What the first service of each kind gives: later ones give the same names."""
    result: dict[str, str] = {}
    for connection in connections:
        for name, value in kinds.get(connection.kind).ecosystem_variables(connection).items():
            result.setdefault(name, value)
    return result
