"""Ports and subnets given to stacks and taken back: the registry's half that hands out what there is only once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from envctl.errors import EnvironmentNotFound, PortInUse
from envctl.host import clock
from envctl.host.port_range import PORT_RANGE
from envctl.host.registry import ports, store, subnets
from envctl.host.registry.ports import WantedPort
from envctl.model import PortLease

QUARANTINE_S = 600.0


class Leasing:
    """The leases of one registry. Each method is one short transaction."""

    def __init__(self, opened: store.Store, now: Callable[[], datetime] = clock.now) -> None:
        """Use `Registry.open`."""
        self._store = opened
        self._now = now

    def lease_ports(
        self,
        stack_id: str,
        wanted: Sequence[WantedPort],
        *,
        scope: str,
        taken: Collection[int] = (),
        bind_check: bool,
        within: range = PORT_RANGE,
    ) -> tuple[PortLease, ...]:
        """Gives a stack exactly these ports; those it has already stay the same, those not wanted are given back.

        Args:
            stack_id: Whose ports.
            wanted: All its ports.
            scope: Whose machine's ports, see `port_scope`.
            taken: Ports others have, as containers that are stopped; a mapping of port to words also says who.
            bind_check: Whether to try the new ports on this machine.
            within: Where to choose from.

        Returns:
            The leases, in the order of `wanted`.

        Raises:
            PortInUse: A fixed port is leased to another, in `taken`, or in use on this machine; names the holder.
            PortsExhausted: No port of the range is free.
        """
        from envctl.host import ports as machine

        try:
            with self._store.transaction(write=True) as connection:
                stack = _stack(connection, stack_id)

                def fixed_free(port: int) -> bool:
                    return machine.fixed_port_free(port, stack["publish_address"])

                request = ports.Request(
                    stack_id=stack_id,
                    project=stack["project"],
                    scope=scope,
                    wanted=wanted,
                    taken=taken,
                    auto_free=machine.can_bind if bind_check else _always,
                    fixed_free=fixed_free if bind_check else _always,
                    within=within,
                    now_s=self._now().timestamp(),
                )
                return ports.lease(connection, request)
        except ports.Conflict as conflict:
            raise _port_in_use(conflict, machine.holder_of if bind_check else None) from None

    def quarantine_port(self, scope: str, port: int, *, seconds: float = QUARANTINE_S) -> None:
        """Takes a port away from its stack and out of use for a while: the engine could not have it."""
        with self._store.transaction(write=True) as connection:
            ports.quarantine(connection, scope, port, self._now().timestamp() + seconds)

    def lease_subnet(self, stack_id: str, scope: str, avoid: Sequence[str] = ()) -> str:
        """The stack's subnet, as "10.213.4.16/28": the one it has, or a new one that overlaps nothing in `avoid`.

        Raises:
            SubnetsExhausted: There is none.
        """
        with self._store.transaction(write=True) as connection:
            project = _stack(connection, stack_id)["project"]
            return subnets.lease(connection, stack_id, project, scope, avoid, self._now().timestamp())

    def quarantine_subnet(self, scope: str, subnet: str, *, seconds: float = QUARANTINE_S) -> None:
        """Takes a subnet away from its stack and out of use for a while: the engine could not have it."""
        with self._store.transaction(write=True) as connection:
            subnets.quarantine(connection, scope, subnet, self._now().timestamp() + seconds)


def _stack(connection: sqlite3.Connection, stack_id: str) -> sqlite3.Row:
    query = "SELECT project, publish_address FROM stacks WHERE id = ?"
    row: sqlite3.Row | None = connection.execute(query, (stack_id,)).fetchone()
    if row is None:
        raise EnvironmentNotFound("the environment was removed meanwhile", subject={"stack": stack_id})
    return row


def _always(_port: int) -> bool:
    return True


def _port_in_use(conflict: ports.Conflict, holder_of: Callable[[int], str | None] | None) -> PortInUse:
    wanted, port = conflict.wanted, conflict.wanted.fixed_host_port or 0
    holder = conflict.holder or (holder_of(port) if holder_of else None)
    return PortInUse(
        f'service "{wanted.service}" needs port {port}, but {holder or "another program"} has it',
        fix=[
            f"stop {holder or 'that program'}",
            f"or delete the fixed port of services.{wanted.service} so that a free one is chosen",
        ],
        subject={"service": wanted.service, "port": port, "holder": holder},
        state="nothing was started",
    )
