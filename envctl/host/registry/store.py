"""The registry's file: opened, made, migrated, set aside when damaged, and one transaction at a time.

Rollback journal and `synchronous=FULL`, never WAL: WAL had a corruption bug with several writers before SQLite 3.51.3.
The file is only ever opened by SQLite: closing any other descriptor of it would drop all locks of this process
(sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from pathlib import Path

from envctl.errors import Busy, CannotWrite, RegistryNewer, StateDamaged
from envctl.host import clock, files, locks, paths
from envctl.host.registry import schema

BUSY_TIMEOUT_S = 15.0

_CHECKED_BYTES = 512 * 1024  # a larger file is checked only when something is wrong with it
_SANE_VERSION = 1000  # a number above it is no version of ours but damage

_inherited: list[sqlite3.Connection] = []  # connections of a parent process: must be neither used nor closed here


class Condition(Enum):
    """What was found in the place of the registry."""

    ABSENT = "absent"
    EMPTY = "empty"
    OLDER = "older"
    GOOD = "good"
    DAMAGED = "damaged"


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

    @property
    def exists(self) -> bool:
        """Whether there is, or was, a registry."""
        return os.path.lexists(self.path) or _id_path(self.state).exists()

    def connect(self) -> sqlite3.Connection:
        """The connection, made first where there is none of this process to the present file.

        Raises:
            RegistryNewer: A newer envctl wrote it; it was not touched.
            StateDamaged: It is damaged and cannot be set aside.
            CannotWrite: It has to be made and cannot be.
        """
        if self._connection is not None and self._pid == os.getpid() and self._file == _identity(self.path):
            return self._connection
        self.close()
        condition, connection = _examine(self.path)
        if connection is None or condition is not Condition.GOOD:
            if connection is not None:
                connection.close()
            connection = self._make()
        self._connection, self._pid, self._file = connection, os.getpid(), _identity(self.path)
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
        with _making(self.state):
            aside = self.path
            if ours is not None and ours == _identity(self.path):  # nobody else has done it meanwhile
                aside = _set_aside(self.path)
                _create(self.state, self.path, lost=True).close()
        return StateDamaged(
            f"the registry {self.path} was damaged",
            cause=reason,
            fix=["run the command again: the registry is rebuilt from the labels of what runs"],
            state=f"the damaged file was kept as {aside.name}",
            subject={"path": str(aside)},
        )

    def _make(self) -> sqlite3.Connection:
        """Makes a good file out of whatever is there."""
        with _making(self.state):
            condition, connection = _examine(self.path)  # again: somebody else may have been first
            if connection is not None and condition is Condition.GOOD:
                return connection
            try:
                if connection is not None and condition is Condition.OLDER:
                    return _migrate(self.path, connection)
                if connection is not None:
                    connection.close()
                lost = condition is Condition.DAMAGED or _id_path(self.state).exists()
                if condition is Condition.DAMAGED:
                    _set_aside(self.path)
                return _create(self.state, self.path, lost=lost)
            except sqlite3.Error as error:
                raise self._explained(error, may_set_aside=False) from error

    def _read_meta(self, connection: sqlite3.Connection) -> None:
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except sqlite3.Error as error:
            raise self._explained(error) from error
        self.needs_repair = meta.get("repair_pending") == "1"
        self.registry_id = meta.get("registry_id", "")
        if not self.registry_id:
            raise self.damaged("it has no id")
        if _read_id(self.state) != self.registry_id:
            with suppress(CannotWrite):
                files.write_atomic(_id_path(self.state), self.registry_id + "\n")

    def _explained(self, error: sqlite3.Error, *, may_set_aside: bool = True) -> Exception:
        """The error of ours that an error of SQLite means; itself where it is a bug."""
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return Busy(
                f"the registry {self.path} is locked by other processes",
                cause=f"it was not released within {BUSY_TIMEOUT_S:g} s",
                fix=["try again"],
                state="unchanged",
            )
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}:
            if may_set_aside:
                return self.damaged(str(error))
            return StateDamaged(f"the registry {self.path} is damaged", cause=str(error))
        if number := self._errno(code):
            return files.cannot_write(self.path, OSError(number, os.strerror(number)))
        if code == sqlite3.SQLITE_IOERR:
            return StateDamaged(
                f"the disk failed while the registry {self.path} was used",
                cause=str(error),
                fix=["check the disk, or set ENVCTL_STATE_DIR to a directory on another"],
            )
        return error

    def _errno(self, code: int) -> int | None:
        """The operating system's reason behind a result code, which SQLite does not hand out."""
        free = files.free_bytes(self.path)
        if code == sqlite3.SQLITE_FULL or (
            code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and free is not None and free < 64 * 1024
        ):
            return errno.ENOSPC
        if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
            try:
                read_only = os.statvfs(self.state).f_flag & os.ST_RDONLY
            except OSError:
                return errno.EACCES
            return errno.EROFS if read_only else errno.EACCES
        return None


def _examine(path: Path) -> tuple[Condition, sqlite3.Connection | None]:
    """What is in the registry's place; with an open connection where it is a registry.

    Raises:
        RegistryNewer: It was written by a newer envctl.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Condition.ABSENT, None
    except OSError as error:
        raise files.cannot_write(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        return Condition.DAMAGED, None
    connection = _connection(path)
    try:
        condition = _condition(connection, found.st_size)
    except sqlite3.Error as error:
        connection.close()
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}:
            return Condition.DAMAGED, None
        raise
    except BaseException:
        connection.close()
        raise
    return condition, connection


def _connection(path: Path) -> sqlite3.Connection:
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def _condition(connection: sqlite3.Connection, size_bytes: int) -> Condition:
    for pragma in ("journal_mode = DELETE", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    version = _number(connection, "user_version")
    if version == 0 and _number(connection, "schema_version") == 0:
        return Condition.EMPTY
    if _number(connection, "application_id") != schema.APPLICATION_ID or not 0 < version < _SANE_VERSION:
        return Condition.DAMAGED
    if version > schema.VERSION:
        raise RegistryNewer(
            "the registry was written by a newer envctl",
            cause=f"its version is {version}, this envctl knows {schema.VERSION}",
            fix=["upgrade envctl, or set ENVCTL_STATE_DIR to another directory"],
            state="unchanged",
        )
    if size_bytes <= _CHECKED_BYTES and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        return Condition.DAMAGED
    return Condition.GOOD if version == schema.VERSION else Condition.OLDER


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _making(state: Path) -> AbstractContextManager[locks.Lock]:
    """Only one process at a time makes, migrates or sets aside the file."""
    return locks.machine_lock(state, "registry", timeout_s=30, purpose="envctl: making the registry")


def _create(state: Path, path: Path, *, lost: bool) -> sqlite3.Connection:
    """A new registry. Its rows come first and its id file last, so a crash between is no loss of rows."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(fd)
    except FileExistsError:
        pass
    except OSError as error:
        raise files.cannot_write(path, error) from error
    path.chmod(0o600)
    registry_id = _read_id(state) or os.urandom(16).hex()
    connection = _connection(path)
    try:
        _condition(connection, 0)
        connection.execute("BEGIN IMMEDIATE")
        schema.migrate(connection, 0)
        rows = [("registry_id", registry_id), ("repair_pending", "1" if lost else "0")]
        connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        files.write_atomic(_id_path(state), registry_id + "\n")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    """Brings an older file up to date in one transaction; the old one is kept beside it."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = _number(connection, "user_version")
        if found < schema.VERSION:
            _back_up(path, found)
            schema.migrate(connection, found)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _back_up(path: Path, version: int) -> None:
    backup = _unused(path.with_name(f"{path.name}.version-{version}-{_utc()}"))
    os.close(os.open(backup, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    source, target = _connection(path), _connection(backup)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()


def _set_aside(path: Path) -> Path:
    """Renames whatever is in the registry's place, and its journal; returns the new name."""
    aside = _unused(path.with_name(f"{path.name}.damaged-{_utc()}"))
    try:
        path.rename(aside)
        journal = path.with_name(path.name + "-journal")
        if os.path.lexists(journal):
            journal.rename(aside.with_name(aside.name + "-journal"))
    except OSError as error:
        raise StateDamaged(
            f"the registry {path} is damaged and cannot be moved aside",
            cause=(error.strerror or str(error)).lower(),
            fix=[f"mv {path} {aside}"],
        ) from error
    return aside


def _unused(path: Path) -> Path:
    number, candidate = 1, path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _utc() -> str:
    return clock.now().strftime("%Y%m%dT%H%M%SZ")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _id_path(state: Path) -> Path:
    return state / "registry-id"


def _read_id(state: Path) -> str | None:
    try:
        text = _id_path(state).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == 32 and all(digit in "0123456789abcdef" for digit in text) else None


def check(state: Path, *, create: bool) -> bool:
    """Proves the state directory safe; makes it where `create`. False where there is none."""
    if create:
        paths.ensure_state_dir(state)
        return True
    if not os.path.lexists(state):
        return False
    paths.check_state_dir(state)
    return True
