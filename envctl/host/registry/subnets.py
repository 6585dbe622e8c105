"""Choosing and leasing subnets. Everything here runs inside one transaction of the registry.

Docker's own pools have room for about 30 networks; small subnets of our own lift that limit.
"""

from __future__ import annotations

import binascii
import sqlite3
from collections.abc import Iterator, Sequence

from envctl.errors import SubnetsExhausted
from envctl.host import subnets
from envctl.model import Stack

POOLS = ("10.213.0.0/16", "172.29.208.0/20", "192.168.208.0/20")
"""Tried in this order; the second and third serve where a VPN routes all of 10.0.0.0/8."""

PREFIX = 28
"""13 containers each, and 4096 networks in the first pool."""


def lease(
    connection: sqlite3.Connection, stack_id: str, project: str, scope: str, avoid: Sequence[str], now_s: float
) -> str:
    """The stack's subnet: the one it has, or a new one that overlaps neither a lease nor `avoid`.

    Raises:
        SubnetsExhausted: There is none.
    """
    connection.execute("DELETE FROM subnet_leases WHERE until <= ?", (now_s,))
    row = connection.execute("SELECT scope, subnet FROM subnet_leases WHERE stack_id = ?", (stack_id,)).fetchone()
    if row is not None and row["scope"] == scope:
        return str(row["subnet"])
    connection.execute("DELETE FROM subnet_leases WHERE stack_id = ?", (stack_id,))
    leased = {row["subnet"] for row in connection.execute("SELECT subnet FROM subnet_leases WHERE scope = ?", (scope,))}
    busy = [span for network in avoid if (span := subnets.parse(network)) is not None]
    for subnet in candidates(project):
        if subnet not in leased and not _overlaps_any(subnet, busy):
            connection.execute(
                "INSERT INTO subnet_leases (scope, subnet, state, stack_id) VALUES (?, ?, 'held', ?)",
                (scope, subnet, stack_id),
            )
            return subnet
    raise SubnetsExhausted(
        f"no free subnet is left in {', '.join(POOLS)}",
        cause=f"{len(leased)} are leased by environments; routes or networks of others cover the rest",
        fix=["envctl gc removes expired environments, docker network prune unused networks"],
        subject={"leased": len(leased)},
    )


def candidates(project: str) -> Iterator[str]:
    """Every subnet that may be chosen, in each pool starting where this stack always starts."""
    for pool in POOLS:
        yield from subnets.blocks(pool, PREFIX, start=binascii.crc32(project.encode()))


def _overlaps_any(subnet: str, busy: Sequence[subnets.Span]) -> bool:
    span = subnets.parse(subnet)
    return span is None or any(subnets.overlaps(span, other) for other in busy)


def quarantine(connection: sqlite3.Connection, scope: str, subnet: str, until_s: float) -> None:
    """Takes a subnet away from whoever holds it: the engine could not have it."""
    connection.execute(
        "INSERT OR REPLACE INTO subnet_leases (scope, subnet, state, until) VALUES (?, ?, 'quarantined', ?)",
        (scope, subnet, until_s),
    )


def adopt(connection: sqlite3.Connection, scope: str, stack: Stack) -> None:
    """Writes down the subnet of a stack that was found by its labels, unless another stack holds it."""
    if stack.subnet is None:
        return
    connection.execute(
        "DELETE FROM subnet_leases WHERE scope = ? AND subnet = ? AND state != 'held'", (scope, stack.subnet)
    )
    connection.execute(
        "INSERT OR IGNORE INTO subnet_leases (scope, subnet, state, stack_id) VALUES (?, ?, 'held', ?)",
        (scope, stack.subnet, stack.id),
    )
