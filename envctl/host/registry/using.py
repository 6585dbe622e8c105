"""Who uses an environment, and how long it lives without use: the registry's half that says what may be removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from envctl.errors import CannotWrite, EnvironmentNotFound
from envctl.host import heartbeat, lifetime, owner, reserve
from envctl.host.registry import records
from envctl.host.registry.leasing import Leasing
from envctl.host.registry.records import EnvironmentRecord
from envctl.model import EnvironmentState, Owner, Session, SessionRequest

T = TypeVar("T")

_TOUCH_S = 60.0
_USABLE = (EnvironmentState.READY, EnvironmentState.DEGRADED, EnvironmentState.STOPPED)


class Using(Leasing):
    """The sessions of one registry. Each method is one short transaction."""

    def attach(self, key: str, request: SessionRequest) -> bool:
        """Begin a session of an environment that is up; whether there is one to be used.

        False also where it was made for sessions that have all ended: it is to be removed, by whoever comes first.

        Args:
            key: The environment's key.
            request: The session; one that has begun already stays as it is.
        """
        with self._store.transaction(write=True) as connection:
            found = records.load(connection, "WHERE e.key = ?", (key,))
            if not found or found[0].state not in _USABLE or self.is_orphan(found[0]):
                return False
            begin(connection, found[0], request, self._now())
            return True

    def begin_session(self, name: str, request: SessionRequest) -> None:
        """Begin a session of an environment, whatever its state; the caller holds its lock. Again does nothing."""
        with self._store.transaction(write=True) as connection:
            for found in records.load(connection, "WHERE e.name = ?", (name,)):
                begin(connection, found, request, self._now())

    def find_session(self, session_id: str) -> EnvironmentRecord | None:
        """The environment that a session uses, or None where it has ended."""
        where = "JOIN sessions u ON u.environment = e.name WHERE u.id = ?"
        with self._store.transaction(write=False) as connection:
            found = records.load(connection, where, (session_id,))
        return found[0] if found else None

    def sessions_of(self, of: Owner) -> tuple[str, ...]:
        """Ids of a process's sessions, the oldest first."""
        query = (
            "SELECT id FROM sessions WHERE owner_boot_id = ? AND owner_pid = ? AND owner_start_ticks = ?"
            " ORDER BY began_at, id"
        )
        with self._store.transaction(write=False) as connection:
            return tuple(row["id"] for row in connection.execute(query, (of.boot_id, of.pid, of.start_ticks)))

    def end_session(self, session_id: str, *, keep: bool = False, locked: bool = True) -> EnvironmentRecord | None:
        """End a session, and with it the sessions whose processes have died; works on a full disk.

        Where it was the last one of an environment that was made for sessions, the environment is marked as being
        removed in the same step, so that nobody can begin another one.

        Args:
            session_id: The session; one that has ended already is fine.
            keep: Whether the environment stays from now on, whoever ends.
            locked: Whether the caller holds the environment's lock. If not, nothing is changed where the environment
                would have to be removed.

        Returns:
            The environment, if it is to be removed now.
        """
        return self._even_if_full(lambda: self._end_session(session_id, keep=keep, locked=locked))

    def _end_session(self, session_id: str, *, keep: bool, locked: bool) -> EnvironmentRecord | None:
        with self._store.transaction(write=True) as connection:
            where = "JOIN sessions u ON u.environment = e.name WHERE u.id = ?"
            found = records.load(connection, where, (session_id,))
            if not found:
                return None
            environment, name = found[0], found[0].identity.name
            dead = [other.id for other in environment.sessions if not self._lives(other)]
            others = {other.id for other in environment.sessions} - {session_id, *dead}
            goes = environment.ephemeral and not keep and not others
            if goes and not locked:
                return environment
            connection.executemany("DELETE FROM sessions WHERE id = ?", [(session_id,), *((id_,) for id_ in dead)])
            self._write_renewal(connection, environment, environment.ttl_s)
            if keep:
                connection.execute("UPDATE environments SET ephemeral = 0 WHERE name = ?", (name,))
            if not goes:
                return None
            _mark_removing(connection, name)
            return environment

    def begin_removal(self, name: str, is_own: Callable[[Session], bool]) -> tuple[Session, ...]:
        """Mark the environment as being removed, unless somebody uses it; works on a full disk.

        In one step, so that nobody can begin to use it in between.

        Args:
            name: The environment's name.
            is_own: Whether a session is the caller's own.

        Returns:
            The living sessions of others; where there are any, nothing was changed.
        """
        return self._even_if_full(lambda: self._begin_removal(name, is_own))

    def _begin_removal(self, name: str, is_own: Callable[[Session], bool]) -> tuple[Session, ...]:
        with self._store.transaction(write=True) as connection:
            for found in records.load(connection, "WHERE e.name = ?", (name,)):
                if others := tuple(one for one in self.living_sessions(found) if not is_own(one)):
                    return others
                _mark_removing(connection, name)
        return ()

    def living_sessions(self, record: EnvironmentRecord) -> tuple[Session, ...]:
        """Those sessions of the record whose process lives."""
        return heartbeat.living(self._store.state, record.sessions)

    def is_orphan(self, record: EnvironmentRecord) -> bool:
        """Whether it was made for sessions and none of them lives."""
        return record.ephemeral and not self.living_sessions(record)

    def adopt(self, name: str) -> None:
        """It is somebody's own from now on: it does not go with its last session."""
        with self._store.transaction(write=True) as connection:
            connection.execute("UPDATE environments SET ephemeral = 0 WHERE name = ?", (name,))

    def may_be_due(self) -> bool:
        """Whether a row could be one that `gc` removes by what is written down alone; a cheap question."""
        query = "SELECT 1 FROM environments WHERE ephemeral = 1 OR expires_at IS NOT NULL LIMIT 1"
        with self._store.transaction(write=False) as connection:
            return connection.execute(query).fetchone() is not None

    # -- living on -------------------------------------------------------------------------------------------------

    def renew(self, name: str, ttl_s: float | None) -> None:
        """Its life begins anew; written at most once a minute unless it changes, never fails for want of writing.

        Args:
            name: The environment's name.
            ttl_s: How long it lives from now on without use, or None for ever.
        """
        due = "SELECT 1 FROM environments WHERE name = ? AND (last_used_at <= ? OR ttl_s IS NOT ?)"
        with self._store.transaction(write=False) as connection:
            row = connection.execute(due, (name, self._now().timestamp() - _TOUCH_S, ttl_s)).fetchone()
        if row is None:
            return
        try:
            with self._store.transaction(write=True) as connection:
                for found in records.load(connection, "WHERE e.name = ?", (name,)):
                    self._write_renewal(connection, found, ttl_s)
        except CannotWrite:
            return

    def set_expiry(self, name: str, expires_at: datetime | None) -> None:
        """Writes down when `gc` may remove the environment; None for never. Raises EnvironmentNotFound."""
        now = self._now()
        left_s = None if expires_at is None else (expires_at - now).total_seconds()
        boot = lifetime.lasting(left_s, now).boot or ("", None)
        with self._store.transaction(write=True) as connection:
            done = connection.execute(
                "UPDATE environments SET expires_at = ?, expires_boot_id = ?, expires_boot_s = ? WHERE name = ?",
                (records.timestamp(expires_at), *boot, name),
            )
            if done.rowcount == 0:
                raise EnvironmentNotFound(f'there is no environment "{name}"', subject={"environment": name})

    def _write_renewal(self, connection: sqlite3.Connection, found: EnvironmentRecord, ttl_s: float | None) -> None:
        now = self._now()
        life = lifetime.lasting(ttl_s, now)
        connection.execute(
            "UPDATE environments SET last_used_at = ?, ttl_s = ?, expires_at = ?, expires_boot_id = ?,"
            " expires_boot_s = ? WHERE name = ?",
            (now.timestamp(), ttl_s, records.timestamp(life.at), *(life.boot or ("", None)), found.identity.name),
        )

    def _even_if_full(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except CannotWrite:
            if not reserve.release(self._store.state):
                raise
            return operation()

    def _lives(self, session: Session) -> bool:
        return heartbeat.is_alive(self._store.state, session)


def _mark_removing(connection: sqlite3.Connection, name: str) -> None:
    me = owner.current()
    connection.execute(
        "UPDATE environments SET state = ?, owner_boot_id = ?, owner_pid = ?, owner_start_ticks = ? WHERE name = ?",
        (EnvironmentState.REMOVING.value, me.boot_id, me.pid, me.start_ticks, name),
    )


def begin(
    connection: sqlite3.Connection, environment: EnvironmentRecord, request: SessionRequest, now: datetime
) -> None:
    """Writes down a session, within a transaction, with the smallest slot that is free; again does nothing."""
    if any(session.id == request.id for session in environment.sessions):
        return
    query = "SELECT number FROM lent_numbers WHERE environment = ?"
    lent = {row["number"] for row in connection.execute(query, (environment.identity.name,))}
    taken = {session.slot for session in environment.sessions} | lent
    slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
    owned = request.owner
    connection.execute(
        "INSERT INTO sessions (id, environment, purpose, slot, owner_boot_id, owner_pid, owner_start_ticks, began_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(request.id, environment.identity.name, request.purpose, slot),
            *(owned.boot_id, owned.pid, owned.start_ticks, now.timestamp()),
        ),
    )
    if request.keep:
        connection.execute("UPDATE environments SET ephemeral = 0 WHERE name = ?", (environment.identity.name,))
