"""Values the registry's tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from envctl.host.registry import EnvironmentRecord, Registry, WantedPort
from envctl.model import Identity, PortLease

ENGINE = {"engine": "compose", "endpoint": "unix:///var/run/docker.sock"}
THREE = (WantedPort("postgres", "main", 5432), WantedPort("redis", "main", 6379), WantedPort("websocket", "main", 3001))


def identity(branch: str = "main", checkout: str = "/home/me/shop", label: str = "") -> Identity:
    key = hashlib.sha256(f"{checkout}\0{branch}\0{label}".encode()).hexdigest()
    safe = "".join(c if c.isalnum() else "-" for c in branch.lower())[:20]
    return Identity("shop", branch, checkout, label, key, f"shop-{safe}-{key[:8]}")


def claim(registry: Registry, branch: str = "main", **more: Any) -> EnvironmentRecord:
    record, _ = registry.claim(identity(branch), **(ENGINE | more))
    return record


def lease(
    registry: Registry, record: EnvironmentRecord, wanted: Sequence[WantedPort] = THREE, **more: Any
) -> tuple[PortLease, ...]:
    return registry.lease_ports(record.stack.id, wanted, **({"scope": "local", "bind_check": False} | more))
