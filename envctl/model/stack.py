"""What is reserved for an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envctl.model.address import LOOPBACK


@dataclass(frozen=True, slots=True)
class PortLease:
    """A host port given to one port of one service until `down`."""

    service: str
    port_name: str
    container_port: int
    host_port: int
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, apart from whose it is: a stack prepared ahead can later be given to an environment.

    Attributes:
        id: Random, 12 hex digits.
        project: Compose project name; also the prefix of every container, network and volume.
        engine: The engine it runs on.
        endpoint: The engine's address ("unix:///var/run/docker.sock"), so that `down` finds the same engine again.
        host: The address clients use, "127.0.0.1" for a local engine.
        publish_address: Address on which the engine publishes ports.
        subnet: Leased /28, or None to let the engine choose.
        ports: Its port leases.
        credentials: Per service, the random secrets: {"postgres": {"password": …}}.
    """

    id: str
    project: str
    engine: str
    endpoint: str
    host: str = LOOPBACK
    publish_address: str = LOOPBACK
    subnet: str | None = None
    ports: tuple[PortLease, ...] = ()
    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def lease(self, service: str, port_name: str) -> PortLease | None:
        """The lease of one port of one service, or None."""
        return next((p for p in self.ports if p.service == service and p.port_name == port_name), None)
