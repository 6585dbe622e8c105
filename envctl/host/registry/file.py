"""The registry's file while nobody uses it: examined, made, migrated, set aside when damaged.

The file is only ever opened by SQLite: closing any other descriptor of it would drop all locks of this process
(sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path

from envctl.errors import RegistryNewer, StateDamaged
from envctl.host import clock, files, locks
from envctl.host.registry import schema

BUSY_TIMEOUT_S = 15.0

DAMAGE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR})
"""Result codes that mean damage; SQLITE_ERROR because our statements are right where the tables are."""

_CHECKED_BYTES = 512 * 1024  # a larger file is checked only when something is wrong with it
_SANE_VERSION = 1000  # a number above it is no version of ours but damage


class Condition(Enum):
    """What was found in the place of the registry."""

    ABSENT = "absent"
    EMPTY = "empty"
    OLDER = "older"
    GOOD = "good"
    DAMAGED = "damaged"


def result_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where there is none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def examine(path: Path) -> tuple[Condition, sqlite3.Connection | None]:
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
    except UnicodeDecodeError:  # of SQLite's own message, which names what it has read
        connection.close()
        return Condition.DAMAGED, None
    except sqlite3.Error as error:
        connection.close()
        if result_code(error) in DAMAGE:
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


def making(state: Path) -> AbstractContextManager[locks.Lock]:
    """Only one process at a time makes, migrates or sets aside the file."""
    return locks.machine_lock(state, "registry", timeout_s=30, purpose="envctl: making the registry")


def make(state: Path, path: Path) -> sqlite3.Connection:
    """Makes a good registry out of whatever is there; to be called while holding `making`."""
    files.sweep(state)
    condition, connection = examine(path)  # somebody else may have been first
    if connection is not None and condition is Condition.GOOD:
        return connection
    if connection is not None and condition is Condition.OLDER:
        return migrate(path, connection)
    if connection is not None:
        connection.close()
    lost = condition is Condition.DAMAGED or id_path(state).exists()
    if condition is Condition.DAMAGED:
        set_aside(path)
    return create(state, path, lost=lost)


def create(state: Path, path: Path, *, lost: bool) -> sqlite3.Connection:
    """A new registry. Its rows come first and its id file last, so a crash between is no loss of rows."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(fd)
    except FileExistsError:
        pass
    except OSError as error:
        raise files.cannot_write(path, error) from error
    path.chmod(0o600)
    registry_id = read_id(state) or os.urandom(16).hex()
    connection = _connection(path)
    try:
        _condition(connection, 0)
        connection.execute("BEGIN IMMEDIATE")
        schema.migrate(connection, 0)
        rows = [("registry_id", registry_id), ("repair_pending", "1" if lost else "0")]
        connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        files.write_atomic(id_path(state), registry_id + "\n")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
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


def set_aside(path: Path) -> Path:
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


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode: tells this file from another that took its name; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def id_path(state: Path) -> Path:
    """The file that holds the registry's id, so that what runs is still known as ours when the registry is lost."""
    return state / "registry-id"


def read_id(state: Path) -> str | None:
    """The registry's id out of its own file, or None where that is missing or makes no sense."""
    try:
        text = id_path(state).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == 32 and all(digit in "0123456789abcdef" for digit in text) else None


def has_our_tables(connection: sqlite3.Connection) -> bool:
    """Whether the tables are exactly those we make; then a statement that fails is a bug, not damage."""
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    query = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    try:
        schema.migrate(fresh, 0)
        return [tuple(row) for row in connection.execute(query)] == fresh.execute(query).fetchall()
    except sqlite3.Error:
        return False
    finally:
        fresh.close()
