"""What envctl has promised on this machine: environments, their stacks, and the ports and subnets leased to them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

from envctl.errors import EnvironmentNotFound, NotOurs
from envctl.host import branches, lifetime, owner, reserve
from envctl.host.registry import ports, records, store, subnets
from envctl.host.registry.lending import Lending
from envctl.host.registry.records import EnvironmentRecord
from envctl.host.registry.using import begin
from envctl.model import LOOPBACK, EnvironmentState, Identity, SessionRequest, Stack
from envctl.plan import naming

_KEEP_PORTS_S = 30 * 24 * 3600.0


class Registry(Lending):
    """The registry of one state directory. Each method is one short transaction.

    Every method can raise CannotWrite (disk full, read-only, access denied), Busy (locked for 15 s) and StateDamaged
    (the file turned out to be damaged, was set aside, and is rebuilt by the next command).
    """

    @overload
    @classmethod
    def open(cls, state: Path, *, create: Literal[True] = True) -> Registry: ...

    @overload
    @classmethod
    def open(cls, state: Path, *, create: bool) -> Registry | None: ...

    @classmethod
    def open(cls, state: Path, *, create: bool = True) -> Registry | None:
        """Opens the registry of a state directory, making both where they are missing and `create` says so.

        What is damaged is set aside as `registry.db.damaged-<time>` and a new one is made, with `needs_repair` set.

        Returns:
            None where there is none and `create` is false.

        Raises:
            RegistryNewer: A newer envctl wrote it; nothing was changed.
            StateDenied: The state directory is not safe to use.
            CannotWrite: It has to be made and cannot be.
            StateDamaged: It is damaged and cannot be set aside.
        """
        if not store.check(state, create=create):
            return None
        opened = store.Store(state)
        if not create and not opened.exists:
            return None
        with opened.transaction(write=False):
            pass
        return cls(opened)

    def close(self) -> None:
        """Closes the file; a later call opens it again."""
        self._store.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def registry_id(self) -> str:
        """32 hex digits that mark, as a label, everything that belongs to environments of this registry."""
        return self._store.registry_id

    @property
    def needs_repair(self) -> bool:
        """Whether rows were lost and have to be found again from labels: `restore`, then `mark_repaired`."""
        return self._store.needs_repair

    # -- looking ---------------------------------------------------------------------------------------------------

    def find(self, *, key: str | None = None, name: str | None = None) -> EnvironmentRecord | None:
        """The environment of this key or of this name."""
        column, value = ("e.key", key) if key is not None else ("e.name", name)
        return self._first(f"WHERE {column} = ?", (value,))

    def find_in_checkout(self, checkout: str, branch: str, label: str) -> EnvironmentRecord | None:
        """The environment of a checkout, branch and label, whatever its project is called."""
        return self._first("WHERE e.checkout = ? AND e.branch = ? AND e.label = ?", (checkout, branch, label))

    def all(self) -> list[EnvironmentRecord]:
        """Every environment, by name."""
        return self._load("", ())

    def _first(self, where: str, parameters: tuple[object, ...]) -> EnvironmentRecord | None:
        found = self._load(where, parameters)
        return found[0] if found else None

    def _load(self, where: str, parameters: tuple[object, ...]) -> list[EnvironmentRecord]:
        try:
            with self._store.transaction(write=False) as connection:
                return records.load(connection, where, parameters)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._store.damaged(f"a row makes no sense: {error}") from error

    # -- an environment's life -------------------------------------------------------------------------------------

    def claim(
        self,
        identity: Identity,
        *,
        engine: str,
        endpoint: str,
        project: str = "",
        host: str = LOOPBACK,
        publish_address: str = LOOPBACK,
        config_file: str | None = None,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
        ttl_s: float | None = None,
        branch_source: str = "",
        session: SessionRequest | None = None,
    ) -> tuple[EnvironmentRecord, bool]:
        """Writes down that this process is about to create an environment, or finds that it is known already.

        Args:
            identity: Whose it is.
            engine: The engine it will run on.
            endpoint: That engine's address.
            project: The stack's name on the engine; "" for the usual one.
            host: The address clients will use.
            publish_address: The address ports will be published on.
            config_file: Absolute path of the configuration, or None for the default.
            credentials: Per service, the secrets.
            ttl_s: How long it lives without use, seconds, or None for ever.
            branch_source: Where its branch's name was found.
            session: The session it is made for, which begins in the same step, and with whose end it goes; or None.

        Returns:
            The environment, and whether it was made now. One that exists is returned as it is; only the session begins.

        Raises:
            NotOurs: The name belongs to the environment of another checkout, branch or label.
        """
        reserve.ensure(self._store.state)
        now = self._now()
        life = lifetime.lasting(ttl_s, now)
        stack = Stack(
            id=os.urandom(6).hex(),
            project=project or naming.stack_project(identity.name),
            engine=engine,
            endpoint=endpoint,
            host=host,
            publish_address=publish_address,
            credentials=credentials or {},
        )
        record = EnvironmentRecord(
            identity=identity,
            state=EnvironmentState.CREATING,
            stack=stack,
            config_file=config_file,
            created_at=now,
            expires_at=life.at,
            last_used_at=now,
            owner=owner.current(),
            ephemeral=session is not None and not session.keep,
            branch_source=branch_source,
            checkout_mark=branches.mark(identity.checkout),
            ttl_s=ttl_s,
            expires_boot=life.boot,
        )
        return self._claim(record, session)

    def _claim(self, record: EnvironmentRecord, session: SessionRequest | None) -> tuple[EnvironmentRecord, bool]:
        identity = record.identity
        with self._store.transaction(write=True) as connection:
            found = records.load(connection, "WHERE e.key = ? OR e.name = ?", (identity.key, identity.name))
            known = next((other for other in found if other.identity.key == identity.key), None)
            if known is None and found:
                raise _name_taken(identity, found[0])
            if known is None:
                records.insert(connection, record)
            if session:
                begin(connection, known or record, session, record.created_at)
            return records.load(connection, "WHERE e.key = ?", (identity.key,))[0], known is None

    def set_state(self, name: str, state: EnvironmentState, *, details: Mapping[str, Any] | None = None) -> None:
        """Writes down an environment's state, and its details where given.

        With CREATING and REMOVING, work begins: the calling process becomes the owner. REMOVING and DOWN can be
        written on a full disk.

        Raises:
            EnvironmentNotFound: There is no such environment (any more).
        """
        values: dict[str, object] = {"state": state.value}
        if details is not None:
            values["details"] = records.to_json(details)
        if state in {EnvironmentState.CREATING, EnvironmentState.REMOVING}:
            me = owner.current()
            values |= {"owner_boot_id": me.boot_id, "owner_pid": me.pid, "owner_start_ticks": me.start_ticks}
        if state in {EnvironmentState.REMOVING, EnvironmentState.DOWN}:
            self._even_if_full(lambda: self._update(name, values))
        else:
            self._update(name, values)

    def refresh(self, name: str, details: Mapping[str, Any]) -> bool:
        """Writes down new details of an environment that is READY; whether it still was. Needs no lock."""
        update = "UPDATE environments SET details = ? WHERE name = ? AND state = ?"
        with self._store.transaction(write=True) as connection:
            values = (records.to_json(details), name, EnvironmentState.READY.value)
            return connection.execute(update, values).rowcount > 0

    def set_credentials(self, stack_id: str, credentials: Mapping[str, Mapping[str, str]]) -> None:
        """Writes down a stack's secrets, replacing all it had."""
        with self._store.transaction(write=True) as connection:
            values = (records.to_json(credentials), stack_id)
            connection.execute("UPDATE stacks SET credentials = ? WHERE id = ?", values)

    def mark_removing(self, name: str) -> None:
        """Writes down that this process is removing the environment; works on a full disk."""
        self.set_state(name, EnvironmentState.REMOVING)

    def set_config_file(self, name: str, config_file: str | None) -> None:
        """Writes down where its configuration is now. Raises EnvironmentNotFound."""
        self._update(name, {"config_file": config_file})

    def forget(self, name: str, *, keep_ports: bool = False) -> None:
        """Removes the environment, its stack and its leases in one step; works on a full disk, again does nothing.

        Args:
            name: The environment's name.
            keep_ports: Whether its ports stay reserved for its next `up`, for 30 days at most.
        """
        until_s = self._now().timestamp() + _KEEP_PORTS_S if keep_ports else None
        self._even_if_full(lambda: self._forget(name, until_s))

    def _forget(self, name: str, reserve_until_s: float | None) -> None:
        with self._store.transaction(write=True) as connection:
            row = connection.execute("SELECT stack_id FROM environments WHERE name = ?", (name,)).fetchone()
            if row is None:
                return
            connection.execute("DELETE FROM environments WHERE name = ?", (name,))
            ports.release(connection, row["stack_id"], reserve_until_s)
            connection.execute("DELETE FROM subnet_leases WHERE stack_id = ?", (row["stack_id"],))
            connection.execute("DELETE FROM stacks WHERE id = ?", (row["stack_id"],))

    def _update(self, name: str, values: Mapping[str, object]) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        update = f"UPDATE environments SET {columns} WHERE name = ?"  # noqa: S608 - our own column names
        with self._store.transaction(write=True) as connection:
            done = connection.execute(update, (*values.values(), name))
            if done.rowcount == 0:
                raise EnvironmentNotFound(f'there is no environment "{name}"', subject={"environment": name})

    # -- repair ----------------------------------------------------------------------------------------------------

    def restore(self, found: Iterable[EnvironmentRecord], *, scope: str) -> tuple[str, ...]:
        """Writes down environments that were found by their labels, with their leases; what is known already stays.

        Args:
            found: The environments.
            scope: Whose machine their ports and subnets belong to.

        Returns:
            The names of those that were added.
        """
        added: list[str] = []
        with self._store.transaction(write=True) as connection:
            for record in found:
                known = connection.execute(
                    "SELECT 1 FROM environments WHERE name = ? OR key = ?"
                    " UNION ALL SELECT 1 FROM stacks WHERE id = ? OR project = ?",
                    (record.identity.name, record.identity.key, record.stack.id, record.stack.project),
                ).fetchone()
                if known is None:
                    records.insert(connection, record)
                    ports.adopt(connection, scope, record.stack)
                    subnets.adopt(connection, scope, record.stack)
                    added.append(record.identity.name)
        return tuple(added)

    def mark_repaired(self) -> None:
        """Writes down that everything that could be found by labels has been restored."""
        with self._store.transaction(write=True) as connection:
            self._store.set_meta(connection, "repair_pending", "0")
        self._store.needs_repair = False


def _name_taken(identity: Identity, other: EnvironmentRecord) -> NotOurs:
    return NotOurs(
        f'the name "{identity.name}" belongs to another environment',
        cause=f"branch {other.identity.branch!r} of {other.identity.checkout}",
        fix=["choose another name with --name"],
        subject={"environment": identity.name},
        state="nothing was created",
    )
