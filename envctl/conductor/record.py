"""What is written down of an environment that is ready, so that later commands need neither configuration nor engine.

Details are never computed again from a configuration that may have changed: what was handed out is what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from envctl.host.registry import EnvironmentRecord
from envctl.model import Connection, EnvironmentState, ServiceState
from envctl.report import EnvironmentReport, ServiceReport

if TYPE_CHECKING:
    from envctl.model import EnvironmentSpec, Ready, ServiceSpec

_TOLD = ("doing", "since", "pid", "services")  # of what left the data dirty


def details(
    spec: EnvironmentSpec,
    connections: Mapping[str, Connection],
    variables: Mapping[str, str],
    *,
    engine_version: str,
    ready_ms: Mapping[str, int],
    timings_ms: Mapping[str, int],
) -> dict[str, Any]:
    """The details of a ready environment, as JSON can hold them."""
    services = {
        name: {
            "connection": asdict(connections[name]),
            "check": _check(service.ready),
            "ports": {port.name: port.container_port for port in service.ports},
            "ready_ms": ready_ms.get(name),
        }
        for name, service in spec.services.items()
    }
    return {
        "services": services,
        "variables": dict(variables),
        "engine_version": engine_version,
        "timings_ms": dict(timings_ms),
    }


def connections(record: EnvironmentRecord) -> dict[str, Connection]:
    """How to reach each service, as handed out."""
    return {name: Connection(**entry["connection"]) for name, entry in _services(record).items()}


def services(record: EnvironmentRecord) -> dict[str, ServiceSpec]:
    """The services as far as their probes need to know them."""
    from envctl.model import PortSpec, ServiceSpec

    return {
        name: ServiceSpec(
            name=name,
            kind=entry["connection"]["kind"],
            ready=_ready(entry["check"]),
            ports=tuple(PortSpec(port, number) for port, number in entry["ports"].items()),
        )
        for name, entry in _services(record).items()
    }


def report(
    record: EnvironmentRecord,
    *,
    state: EnvironmentState | None = None,
    states: Mapping[str, tuple[ServiceState, str]] | None = None,
    timings_ms: Mapping[str, int] | None = None,
    changes: tuple[str, ...] = (),
) -> EnvironmentReport:
    """A record as it is told.

    Args:
        record: The record.
        state: What is true now, where that was looked at.
        states: State and detail of each service, where they were looked at.
        timings_ms: Of the command that reports, else of the `up` that made it.
        changes: What was done.
    """
    known = connections(record)
    entries = _services(record)
    current = states or dict.fromkeys(known, (ServiceState.READY, ""))
    return EnvironmentReport(
        identity=record.identity,
        engine=record.stack.engine,
        state=state or record.state,
        created_at=_iso(record.created_at.isoformat(timespec="seconds")),
        expires_at=_iso(record.expires_at.isoformat(timespec="seconds")) if record.expires_at else None,
        services={
            name: ServiceReport(connection, current[name][0], entries[name]["ready_ms"], current[name][1])
            for name, connection in known.items()
        },
        variables=record.details.get("variables", {}),
        timings_ms=timings_ms if timings_ms is not None else record.details.get("timings_ms", {}),
        changes=changes,
        ephemeral=record.ephemeral,
        sessions=record.sessions,
        last_used_at=_iso(record.last_used_at.isoformat(timespec="seconds")),
        dirty={key: value for key, value in record.details.get("dirty", {}).items() if key in _TOLD},
        snapshot=_snapshot(record.details.get("data", {})),
    )


def _snapshot(data: Mapping[str, Any]) -> str:
    """The key of what it was started from; data that was made in its place has one, but is of no snapshot."""
    return str(data["key"]) if data.get("sources") else ""


def _services(record: EnvironmentRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record.details.get("services", {})
    return found


def _check(ready: Ready | None) -> dict[str, Any] | None:
    return None if ready is None else {"type": type(ready).__name__, **asdict(ready)}


def _ready(check: Mapping[str, Any] | None) -> Ready | None:
    if check is None:
        return None
    from envctl import model

    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in check.items()}
    check_type: Callable[..., Ready] = getattr(model, str(fields.pop("type")))
    return check_type(**fields)


def _iso(text: str) -> str:
    return text.replace("+00:00", "Z")
