"""Choosing and leasing host ports. Everything here runs inside one transaction of the registry."""

from __future__ import annotations

import binascii
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from envctl.errors import PortsExhausted
from envctl.host.port_range import DENIED
from envctl.model import PortLease, Stack


class WantedPort(NamedTuple):
    """A port to be leased.

    Attributes:
        service: The service's name.
        port_name: The port's name within the service.
        container_port: Where the service listens inside.
        fixed_host_port: The host port the user demands, or None to have one chosen.
    """

    service: str
    port_name: str
    container_port: int
    fixed_host_port: int | None = None


class Conflict(Exception):
    """A fixed port is taken; the caller finds out by whom once the transaction has ended.

    Attributes:
        wanted: What was wanted.
        holder: Who has it, where the registry or the caller's `taken` says so.
    """

    def __init__(self, wanted: WantedPort, holder: str | None) -> None:
        super().__init__(wanted.fixed_host_port)
        self.wanted = wanted
        self.holder = holder


class Request(NamedTuple):
    """One stack's request.

    Attributes:
        stack_id: Whose ports.
        project: The stack's project, which decides where the search starts.
        scope: The machine the ports belong to.
        wanted: All ports the stack shall have.
        taken: Ports that others have; a mapping also says who.
        auto_free: Whether a chosen port is free on this machine.
        fixed_free: Whether a demanded port is.
        within: Where to choose from.
        now_s: The time, in seconds since 1970.
    """

    stack_id: str
    project: str
    scope: str
    wanted: Sequence[WantedPort]
    taken: Collection[int]
    auto_free: Callable[[int], bool]
    fixed_free: Callable[[int], bool]
    within: range
    now_s: float


def port_scope(endpoint: str, *, local: bool) -> str:
    """Whose ports they are: all engines of this machine share its ports, a remote engine has its own."""
    return "local" if local else endpoint


def lease(connection: sqlite3.Connection, request: Request) -> tuple[PortLease, ...]:
    """Gives the stack exactly the wanted ports, in their order; what it has already stays.

    Raises:
        Conflict: A fixed port is taken.
        PortsExhausted: No port of the range is free.
    """
    release_expired(connection, request.now_s)
    own = _own_ports(connection, request)
    kept = _keep(connection, request)
    missing = [wanted for wanted in request.wanted if (wanted.service, wanted.port_name) not in kept]
    for wanted in sorted(missing, key=lambda wanted: wanted.fixed_host_port is None):  # fixed ports choose first
        fixed = wanted.fixed_host_port is not None
        port = _claim_fixed(connection, request, wanted, own) if fixed else _choose(connection, request, wanted)
        kept[wanted.service, wanted.port_name] = _hold(connection, request, wanted, port)
    return tuple(kept[wanted.service, wanted.port_name] for wanted in request.wanted)


def release_expired(connection: sqlite3.Connection, now_s: float) -> None:
    """Forgets quarantines and reservations whose time is over."""
    connection.execute("DELETE FROM port_leases WHERE until <= ?", (now_s,))


def _keep(connection: sqlite3.Connection, request: Request) -> dict[tuple[str, str], PortLease]:
    """The stack's leases that are still wanted as they are; the others are given back."""
    wanted = {(w.service, w.port_name): w for w in request.wanted}
    kept: dict[tuple[str, str], PortLease] = {}
    query = "SELECT * FROM port_leases WHERE stack_id = ?"
    for row in connection.execute(query, (request.stack_id,)).fetchall():
        key = (row["service"], row["port_name"])
        want = wanted.get(key)
        demanded = row["port"] if row["fixed"] else None
        if want is None or want.fixed_host_port != demanded or row["scope"] != request.scope:
            connection.execute(
                "DELETE FROM port_leases WHERE scope = ? AND port = ?",
                (row["scope"], row["port"]),
            )
            continue
        if want.container_port != row["container_port"]:
            connection.execute(
                "UPDATE port_leases SET container_port = ? WHERE scope = ? AND port = ?",
                (want.container_port, row["scope"], row["port"]),
            )
        kept[key] = PortLease(*key, want.container_port, row["port"], bool(row["fixed"]))
    return kept


def _own_ports(connection: sqlite3.Connection, request: Request) -> frozenset[int]:
    """What the stack has now; its own services may be listening there."""
    query = "SELECT port FROM port_leases WHERE stack_id = ? AND scope = ?"
    return frozenset(row["port"] for row in connection.execute(query, (request.stack_id, request.scope)))


def _claim_fixed(connection: sqlite3.Connection, request: Request, wanted: WantedPort, own: frozenset[int]) -> int:
    port = wanted.fixed_host_port or 0
    row = connection.execute(
        "SELECT p.state, p.service, coalesce(e.name, s.project) AS name FROM port_leases p"
        " LEFT JOIN stacks s ON s.id = p.stack_id LEFT JOIN environments e ON e.stack_id = p.stack_id"
        " WHERE p.scope = ? AND p.port = ?",
        (request.scope, port),
    ).fetchone()
    if row is not None and row["state"] == "held":
        raise Conflict(wanted, f'service "{row["service"]}" of environment "{row["name"]}"')
    if port in own:  # of another service of this stack until now
        return port
    if port in request.taken:
        raise Conflict(wanted, request.taken[port] if isinstance(request.taken, Mapping) else None)
    if not request.fixed_free(port):
        raise Conflict(wanted, None)
    return port


def _choose(connection: sqlite3.Connection, request: Request, wanted: WantedPort) -> int:
    query = "SELECT port FROM port_leases WHERE scope = ? AND project = ? AND service = ? AND port_name = ?"
    key = (request.scope, request.project, wanted.service, wanted.port_name)
    reserved = {row["port"] for row in connection.execute(f"{query} AND state = 'reserved'", key)}
    leased = {
        row["port"]: row["state"]
        for row in connection.execute("SELECT port, state FROM port_leases WHERE scope = ?", (request.scope,))
    }
    first_choice = (port for port in candidates(request.project, wanted, request.within) if port not in leased)
    # Reservations of others are a courtesy to environments that are down: broken only when nothing else is left.
    last_choice = (port for port, state in leased.items() if state == "reserved" and port in request.within)
    for port in chain(sorted(reserved), first_choice, last_choice):
        if port not in request.taken and request.auto_free(port):
            return int(port)
    raise exhausted(connection, request)


def candidates(project: str, wanted: WantedPort, within: range) -> Iterator[int]:
    """Every port of the range that may be chosen, starting where this port of this stack always starts.

    So the same environment usually has the same ports on every machine, without asking anybody.
    """
    start = binascii.crc32(f"{project}\0{wanted.service}\0{wanted.port_name}".encode()) % len(within)
    for offset in range(len(within)):
        port = within[(start + offset) % len(within)]
        if port not in DENIED:
            yield port


def _hold(connection: sqlite3.Connection, request: Request, wanted: WantedPort, port: int) -> PortLease:
    fixed = wanted.fixed_host_port is not None
    connection.execute(
        "INSERT OR REPLACE INTO port_leases"
        " (scope, port, state, stack_id, project, service, port_name, container_port, fixed, until)"
        " VALUES (?, ?, 'held', ?, ?, ?, ?, ?, ?, NULL)",
        (
            *(request.scope, port, request.stack_id, request.project),
            *(wanted.service, wanted.port_name, wanted.container_port, int(fixed)),
        ),
    )
    return PortLease(wanted.service, wanted.port_name, wanted.container_port, port, fixed)


def quarantine(connection: sqlite3.Connection, scope: str, port: int, until_s: float) -> None:
    """Takes a port away from whoever holds it: the engine could not have it."""
    connection.execute(
        "INSERT OR REPLACE INTO port_leases (scope, port, state, until) VALUES (?, ?, 'quarantined', ?)",
        (scope, port, until_s),
    )


def release(connection: sqlite3.Connection, stack_id: str, reserve_until_s: float | None) -> None:
    """Ends the stack's leases; with a time, its ports stay reserved for its project until then."""
    if reserve_until_s is None:
        connection.execute("DELETE FROM port_leases WHERE stack_id = ?", (stack_id,))
        return
    connection.execute(
        "UPDATE port_leases SET state = 'reserved', stack_id = NULL, until = ? WHERE stack_id = ?",
        (reserve_until_s, stack_id),
    )


def exhausted(connection: sqlite3.Connection, request: Request) -> PortsExhausted:
    """The error for a range without a free port; says who holds how many."""
    rows = connection.execute(
        "SELECT coalesce(e.name, s.project, p.state) AS name, count(*) AS number FROM port_leases p"
        " LEFT JOIN stacks s ON s.id = p.stack_id LEFT JOIN environments e ON e.stack_id = p.stack_id"
        " WHERE p.scope = ? AND p.port BETWEEN ? AND ? GROUP BY 1 ORDER BY 2 DESC, 1",
        (request.scope, request.within.start, request.within.stop - 1),
    ).fetchall()
    leased = sum(row["number"] for row in rows)
    shown = ", ".join(f"{row['number']} by {row['name']}" for row in rows[:5])
    more = f" and {len(rows) - 5} others" if len(rows) > 5 else ""
    first, last = request.within.start, request.within.stop - 1
    return PortsExhausted(
        f"no free port is left in {first}-{last}",
        cause=f"{leased} are leased ({shown}{more}), the others are in use on the machine",
        fix=["envctl ls shows the environments, envctl down --name NAME removes one, envctl gc the expired"],
        subject={"first_port": first, "last_port": last, "leased": leased},
        state="nothing was leased",
    )


def adopt(connection: sqlite3.Connection, scope: str, stack: Stack) -> None:
    """Writes down the ports of a stack that was found by its labels, but none that another stack holds."""
    for port in stack.ports:
        connection.execute(
            "DELETE FROM port_leases WHERE scope = ? AND port = ? AND state != 'held'", (scope, port.host_port)
        )
        connection.execute(
            "INSERT OR IGNORE INTO port_leases"
            " (scope, port, state, stack_id, project, service, port_name, container_port, fixed)"
            " VALUES (?, ?, 'held', ?, ?, ?, ?, ?, ?)",
            (
                *(scope, port.host_port, stack.id, stack.project),
                *(port.service, port.port_name, port.container_port, int(port.fixed)),
            ),
        )
