"""How a test reaches a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Connection:
    """How a test reaches one service.

    Attributes:
        service: The service's name.
        kind: Its kind.
        host: Address, never a name that could resolve to IPv6 for a service on IPv4.
        port: The main port, or None for a service without ports.
        url: Ready for the ecosystem's clients, password included; "" for a service without ports.
        user: User name, or None.
        password: Password or token, or None; masked in `repr`, as is `url`.
        database: Database name or number, or None.
        path: Path of the WebSocket or HTTP endpoint, or None.
        ports: Every port by name: name → host port.
    """

    service: str
    kind: str
    host: str
    port: int | None
    url: str = field(default="", repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    path: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
