"""What there is without any configuration file. Apart from what reads files, so that nothing else is imported."""

from __future__ import annotations

from collections.abc import Mapping

from envctl import kinds
from envctl.model import EnvironmentSpec, ServiceSpec

DEFAULT_SERVICES = ("postgres", "redis", "websocket")


def default_spec() -> EnvironmentSpec:
    """Postgres, Redis and a WebSocket server."""
    return EnvironmentSpec(services=default_services())


def default_services() -> Mapping[str, ServiceSpec]:
    """The same as services, by name."""
    return {name: default_service(name) for name in DEFAULT_SERVICES}


def default_service(name: str) -> ServiceSpec:
    """The service a kind gives without any setting."""
    kind = kinds.get(name)
    options = {option: setting.default for option, setting in kind.options.items()}
    return ServiceSpec(name, kind.name, kind.image, ports=kind.ports, options=options)
