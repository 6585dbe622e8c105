"""What probes may ask of the engine about one stack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envctl.model import Connection, ServiceSpec, Stack
from envctl.ready.base import Probe
from envctl.ready.factory import probe_for

if TYPE_CHECKING:
    from envctl.engines.base import Engine

_SETTLE_S = 1.0  # within it, a command that is wrong has ended


@dataclass
class EngineTarget:
    """What probes may ask of the engine about one stack."""

    engine: Engine
    stack: Stack
    registry_id: str
    handles: dict[str, str] = field(default_factory=dict)

    def handle(self, service: str) -> str:
        """The engine's id of a service. Raises KeyError where it is not there."""
        if service not in self.handles:
            found = self.engine.survey(self.stack, self.registry_id, whole=False).result()
            self.handles = {name: seen.handle for name, seen in found.services.items()}
        return self.handles[service]

    def logs(self, service: str) -> str:
        """The service's whole log."""
        with suppress(KeyError):
            handle = self.handle(service)
            lines = self.engine.logs(self.stack, service, handle, follow=False, tail_lines=None, since=None)
            return "\n".join(lines)
        return ""

    def exec(self, service: str, argv: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program inside the service."""
        try:
            return self.engine.exec(self.handle(service), argv, limit_s)
        except KeyError:
            return 1, "the service is not there yet"


def probes(
    services: Mapping[str, ServiceSpec],
    reach: Mapping[str, Connection],
    engine: Engine,
    stack: Stack,
    registry_id: str,
    *,
    starting: Collection[str] = (),
) -> dict[str, Probe]:
    """The probe of each service, on the address that is handed out.

    Args:
        services: The services.
        reach: How clients reach them.
        engine: Their engine.
        stack: Their stack.
        registry_id: Our registry's id.
        starting: Those that are only now being started, which must prove that they keep running.
    """
    target = EngineTarget(engine, stack, registry_id)
    return {
        name: probe_for(service, reach[name], target, settle_s=_SETTLE_S if name in starting else 0.0)
        for name, service in services.items()
    }
