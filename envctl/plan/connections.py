"""Where each service is found: from outside on its leased ports, and from inside the stack by its name."""

from __future__ import annotations

from collections.abc import Mapping

from envctl import kinds
from envctl.model import LOOPBACK, Connection, EnvironmentSpec, ServiceSpec, Stack


def outside(spec: EnvironmentSpec, stack: Stack) -> dict[str, Connection]:
    """Connections for clients of the engine's host: the leased ports on the stack's address."""
    found: dict[str, Connection] = {}
    for name, service in spec.services.items():
        leased = {lease.port_name: lease.host_port for lease in stack.ports if lease.service == name}
        ports = {port.name: leased[port.name] for port in service.ports}
        secrets = stack.credentials.get(name, {})
        found[name] = kinds.get(service.kind).connection(service, host_of(service, stack), ports, secrets)
    return found


def host_of(service: ServiceSpec, stack: Stack) -> str:
    """The address of a service: a process of this machine is here, wherever the engine is."""
    return LOOPBACK if service.process else stack.host


def inside(spec: EnvironmentSpec, credentials: Mapping[str, Mapping[str, str]]) -> dict[str, Connection]:
    """Connections between the stack's own services: service names and container ports."""
    found: dict[str, Connection] = {}
    for name, service in spec.services.items():
        ports = {port.name: port.container_port for port in service.ports}
        found[name] = kinds.get(service.kind).connection(service, name, ports, credentials.get(name, {}))
    return found
