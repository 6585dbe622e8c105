"""What a row of the registry means: records for those who ask, rows for the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from envctl.model import EnvironmentState, Identity, Owner, PortLease, Session, Stack


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """What is recorded of one environment.

    Attributes:
        identity: Whose it is.
        state: The last state that was written down; only the engine knows what is true now.
        stack: What runs, with its leases and credentials.
        config_file: Absolute path of the configuration it was made from, or None for the default.
        created_at: When its row was made, UTC.
        expires_at: When `gc` may remove it, UTC, or None for never.
        last_used_at: When it was last used, UTC, to the minute.
        owner: The process that created it or last began to change it.
        ephemeral: Whether it was made for a session and goes with the last one.
        details: What the conductor wrote down when it was ready: connections, variables, timings.
        branch_source: Where the branch's name came from, a `BranchSource`; "" where an older envctl wrote it down.
        checkout_mark: What proves its checkout's removal, see `branches.mark`; "" where nothing does.
        ttl_s: How long it lives after its last use, seconds, or None for ever.
        expires_boot: Boot id, and `expires_at` in seconds since that boot; None where there is no end.
        sessions: Who uses it, as written down; some of them may have died.
    """

    identity: Identity
    state: EnvironmentState
    stack: Stack
    config_file: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime
    owner: Owner
    ephemeral: bool = False
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)  # holds passwords
    branch_source: str = ""
    checkout_mark: str = ""
    ttl_s: float | None = None
    expires_boot: tuple[str, float] | None = None
    sessions: tuple[Session, ...] = ()


SELECT = """
SELECT e.name, e.key, e.project, e.branch, e.checkout, e.label, e.config_file, e.state, e.created_at, e.expires_at,
  e.last_used_at, e.owner_boot_id, e.owner_pid, e.owner_start_ticks, e.ephemeral, e.details,
  e.branch_source, e.checkout_mark, e.ttl_s, e.expires_boot_id, e.expires_boot_s,
  s.id AS stack_id, s.project AS stack_project, s.engine, s.endpoint, s.host, s.publish_address, s.credentials
FROM environments e JOIN stacks s ON s.id = e.stack_id
"""


def load(connection: sqlite3.Connection, where: str = "", parameters: Iterable[object] = ()) -> list[EnvironmentRecord]:
    """The environments that `where` selects, by name, each with its stack and leases.

    Raises:
        ValueError: A row holds what envctl never writes: the file is damaged.
    """
    rows = connection.execute(f"{SELECT} {where} ORDER BY e.name", tuple(parameters)).fetchall()
    if not rows:
        return []
    only = rows[0]["stack_id"] if len(rows) == 1 else None
    ports, subnets, sessions = _ports(connection, only), _subnets(connection, only), _sessions(connection)
    return [
        _record(
            row,
            tuple(ports.get(row["stack_id"], ())),
            subnets.get(row["stack_id"]),
            tuple(sessions.get(row["name"], ())),
        )
        for row in rows
    ]


def _ports(connection: sqlite3.Connection, stack_id: str | None) -> dict[str, list[PortLease]]:
    found: dict[str, list[PortLease]] = {}
    rows = connection.execute(
        "SELECT stack_id, service, port_name, container_port, port, fixed FROM port_leases"
        " WHERE stack_id IS NOT NULL AND (?1 IS NULL OR stack_id = ?1) ORDER BY service, port_name",
        (stack_id,),
    )
    for row in rows:
        found.setdefault(row["stack_id"], []).append(port_lease(row))
    return found


def port_lease(row: sqlite3.Row) -> PortLease:
    """The lease in a row of `port_leases`."""
    return PortLease(row["service"], row["port_name"], row["container_port"], row["port"], bool(row["fixed"]))


def _subnets(connection: sqlite3.Connection, stack_id: str | None) -> dict[str, str]:
    rows = connection.execute(
        "SELECT stack_id, subnet FROM subnet_leases WHERE stack_id IS NOT NULL AND (?1 IS NULL OR stack_id = ?1)",
        (stack_id,),
    )
    return {row["stack_id"]: row["subnet"] for row in rows}


def _sessions(connection: sqlite3.Connection) -> dict[str, list[Session]]:
    found: dict[str, list[Session]] = {}
    for row in connection.execute("SELECT * FROM sessions ORDER BY began_at, id"):
        owner = Owner(row["owner_boot_id"], row["owner_pid"], row["owner_start_ticks"])
        session = Session(row["id"], row["purpose"], row["slot"], owner, row["began_at"])
        found.setdefault(row["environment"], []).append(session)
    return found


def _record(
    row: sqlite3.Row, ports: tuple[PortLease, ...], subnet: str | None, sessions: tuple[Session, ...]
) -> EnvironmentRecord:
    return EnvironmentRecord(
        identity=Identity(row["project"], row["branch"], row["checkout"], row["label"], row["key"], row["name"]),
        state=EnvironmentState(row["state"]),
        stack=Stack(
            id=row["stack_id"],
            project=row["stack_project"],
            engine=row["engine"],
            endpoint=row["endpoint"],
            host=row["host"],
            publish_address=row["publish_address"],
            subnet=subnet,
            ports=ports,
            credentials=_mapping(row["credentials"]),
        ),
        config_file=row["config_file"],
        created_at=_moment(row["created_at"]),
        expires_at=None if row["expires_at"] is None else _moment(row["expires_at"]),
        last_used_at=_moment(row["last_used_at"]),
        owner=Owner(row["owner_boot_id"], row["owner_pid"], row["owner_start_ticks"]),
        ephemeral=bool(row["ephemeral"]),
        details=_mapping(row["details"]),
        branch_source=row["branch_source"],
        checkout_mark=row["checkout_mark"],
        ttl_s=row["ttl_s"],
        expires_boot=None if row["expires_boot_s"] is None else (row["expires_boot_id"], row["expires_boot_s"]),
        sessions=sessions,
    )


def insert(connection: sqlite3.Connection, record: EnvironmentRecord) -> None:
    """Writes the rows of an environment and its stack, without leases."""
    stack, identity, owner = record.stack, record.identity, record.owner
    created = record.created_at.timestamp()
    connection.execute(
        "INSERT INTO stacks (id, project, engine, endpoint, host, publish_address, credentials, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(stack.id, stack.project, stack.engine, stack.endpoint, stack.host, stack.publish_address),
            *(to_json(stack.credentials), created),
        ),
    )
    connection.execute(
        "INSERT INTO environments (name, key, project, branch, checkout, label, config_file, state, stack_id,"
        " created_at, expires_at, last_used_at, owner_boot_id, owner_pid, owner_start_ticks, ephemeral, details,"
        " branch_source, checkout_mark, ttl_s, expires_boot_id, expires_boot_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(identity.name, identity.key, identity.project, identity.branch, identity.checkout, identity.label),
            *(record.config_file, record.state.value, stack.id, created, timestamp(record.expires_at)),
            *(record.last_used_at.timestamp(), owner.boot_id, owner.pid, owner.start_ticks),
            *(int(record.ephemeral), to_json(record.details), record.branch_source, record.checkout_mark),
            *(record.ttl_s, *(record.expires_boot or ("", None))),
        ),
    )


def timestamp(moment: datetime | None) -> float | None:
    """Seconds since 1970, as the database keeps moments."""
    return None if moment is None else moment.timestamp()


def to_json(value: Mapping[str, Any]) -> str:
    """A mapping as the database keeps it."""
    return json.dumps(value, separators=(",", ":"), default=dict)  # mappings that are not dicts


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object: {type(value).__name__}")
    return value


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
