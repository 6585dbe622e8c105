"""The registry's file in use: one connection per process, one transaction at a time, errors in our words.

Rollback journal and `synchronous=FULL`, never WAL: WAL had a corruption bug with several writers before SQLite 3.51.3.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from envctl.errors import CannotWrite, StateDamaged
from envctl.host import files, paths
from envctl.host.registry import file
from envctl.host.registry.explain import explained
from envctl.host.registry.queue import writers_turn

_inherited: list[sqlite3.Connection] = []  # connections of a parent process: must be neither used nor closed here


class Store:
    """One connection to the registry's file, replaced when the process forked or the file was replaced.

    Attributes:
        state: The state directory.
        path: The file.
        registry_id: 32 hex digits; they mark everything this registry's environments own.
        needs_repair: Whether the rows were lost and have not been restored yet.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.path = state / "registry.db"
        self.registry_id = ""
        self.needs_repair = False
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._file: tuple[int, int] | None = None

    def __del__(self) -> None:
        with suppress(sqlite3.Error):  # since 3.13 Python warns of connections that are left to it, in a test run too
            self.close()

    @property
    def exists(self) -> bool:
        """Whether there is, or was, a registry."""
        return os.path.lexists(self.path) or file.id_path(self.state).exists()

    def connect(self) -> sqlite3.Connection:
        """The connection, made first where there is none of this process to the present file.

        Raises:
            RegistryNewer: A newer envctl wrote it; it was not touched.
            StateDamaged: It is damaged and cannot be set aside.
            CannotWrite: It has to be made and cannot be.
        """
        if self._connection is not None and self._pid == os.getpid() and self._file == file.identity(self.path):
            return self._connection
        self.close()
        self._file = file.identity(self.path)  # before opening it: if it is replaced now, the next use notices
        condition, connection = file.examine(self.path)
        if connection is None or condition is not file.Condition.GOOD:
            if connection is not None:
                connection.close()
            connection = self._make()
        self._connection, self._pid = connection, os.getpid()
        self._read_meta(connection)
        return connection

    def close(self) -> None:
        """Closes the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._pid == os.getpid():
            connection.close()
        else:
            _inherited.append(connection)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """One transaction; a write takes the write lock at once, so that it cannot fail halfway for want of it.

        Raises:
            Busy: Other processes kept it locked for 15 s.
            CannotWrite: The disk is full, read-only, or access is denied.
            StateDamaged: The file turned out to be damaged; it was set aside and will be rebuilt from labels.
        """
        try:
            connection = self.connect()
            with writers_turn(self.state) if write else nullcontext():
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        with suppress(sqlite3.Error):  # the first error is the one to report
                            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def set_meta(self, connection: sqlite3.Connection, key: str, value: str) -> None:
        """Writes one setting of the registry."""
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def damaged(self, reason: str) -> StateDamaged:
        """Sets the file aside; the error to raise."""
        ours = self._file
        self.close()
        with file.making(self.state):
            aside = None
            if ours is not None and ours == file.identity(self.path):  # nobody else has done it meanwhile
                aside = file.set_aside(self.path)
                file.create(self.state, self.path, lost=True).close()
        return StateDamaged(
            f"the registry {self.path} was damaged",
            cause=reason,
            fix=["run the command again: the registry is rebuilt from the labels of what runs"],
            state=f"the damaged file was kept as {aside}" if aside else None,
            subject={"path": str(self.path)},
        )

    def _make(self) -> sqlite3.Connection:
        """Makes a good file out of whatever is there."""
        with file.making(self.state):
            try:
                return file.make(self.state, self.path)
            except sqlite3.Error as error:
                raise explained(error, self.path) from error
            finally:
                self._file = file.identity(self.path)

    def _read_meta(self, connection: sqlite3.Connection) -> None:
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except sqlite3.Error as error:
            raise self._explained(error) from error
        self.needs_repair = meta.get("repair_pending") == "1"
        self.registry_id = meta.get("registry_id", "")
        if not self.registry_id:
            raise self.damaged("it has no id")
        if file.read_id(self.state) != self.registry_id:
            with suppress(CannotWrite):
                files.write_atomic(file.id_path(self.state), self.registry_id + "\n")

    def _explained(self, error: sqlite3.Error) -> Exception:
        code = file.result_code(error)
        bug = code == sqlite3.SQLITE_ERROR and self._connection is not None and file.has_our_tables(self._connection)
        if code in file.DAMAGE and not bug:
            return self.damaged(str(error))
        return error if bug else explained(error, self.path)


def check(state: Path, *, create: bool) -> bool:
    """Proves the state directory safe; makes it where `create`. False where there is none."""
    if create:
        paths.ensure_state_dir(state)
        return True
    if not os.path.lexists(state):
        return False
    paths.check_state_dir(state)
    return True
