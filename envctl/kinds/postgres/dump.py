"""All of a database as one stream, by PostgreSQL's own programs where the server is, and back.

    envctl postgres 1        a line that says what it is
    {"version": 18, …}       a line of what pg_dump leaves out: settings of the database, roles that it needs
    …                        pg_dump's custom format

What envctl's reset has put into the database (the schema `envctl` and its triggers) stays out of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from envctl.errors import DataFailed, SnapshotInvalid
from envctl.kinds.postgres.data import connection_to, set_for_database
from envctl.kinds.postgres.dumps import moment, stubs, takeover
from envctl.kinds.postgres.protocol.asking import asking
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.model import Connection

if TYPE_CHECKING:
    from envctl.kinds.contents import Streams

recover = takeover.recover

_MAGIC = b"envctl postgres 1\n"
_LONGEST_HEAD = 4 * 1024**2
_LIMIT_S = 120.0
_TRIES = 10
_SHOWN_LINES = 8
_NOT_FOUND = 127

_LOG_IN = r"""
[ -n "${PGPASSWORD:-}" ] || PGPASSWORD=$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")
export PGPASSWORD
"""
# Not compressed: the file that it goes into is, and what comes out of that is counted.
_DUMP = _LOG_IN + (
    'export PGAPPNAME="$3"; exec pg_dump -w -Fc -Z 0 --lock-wait-timeout=20s --exclude-schema=envctl -U "$1" -d "$2"'
)
_RESTORE = _LOG_IN + 'exec pg_restore -w --exit-on-error -U "$1" -d "$2"'

# The server's first user owns things without being noted as their owner.
_ROLES = """
SELECT rolname FROM pg_roles WHERE oid = 10 OR rolname = current_user
  OR oid = (SELECT datdba FROM pg_database WHERE datname = current_database()) OR oid IN (
  SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
  AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
  OR oid IN (SELECT setrole FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
             WHERE datname = current_database())
ORDER BY 1"""
_SETTINGS = """
SELECT rolname, unnest(setconfig) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = current_database()"""
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"


def server(connection: Connection) -> str:
    """Which server it is, in words. Raises DataFailed."""
    with asking(connection, "ask for its version"), Client(connection, _LIMIT_S) as session:
        return f"PostgreSQL {session.version}"


# -- saving ------------------------------------------------------------------------------------------------------------


def save(connection: Connection, target: BinaryIO, inside: Streams) -> None:
    """Write all that the database holds at one moment, while others go on using it.

    Args:
        connection: The service.
        target: Where it goes.
        inside: Runs programs where the server is.

    Raises:
        DataFailed: It could not be saved.
    """
    aim = f'save database "{connection.database}"'
    for _ in range(_TRIES):
        with suppress(moment.Torn), asking(connection, aim):
            _save_once(connection, target, inside, aim)
            return
    raise DataFailed(
        f"cannot {aim}",
        cause=f"in each of {_TRIES} tries a table was emptied by TRUNCATE, or rewritten, just when it began",
        fix=["try again while no tests run that empty tables all the time"],
        subject={"service": connection.service, "database": connection.database},
    )


def _save_once(connection: Connection, target: BinaryIO, inside: Streams, aim: str) -> None:
    with Client(connection, _LIMIT_S) as session:
        head = _MAGIC + json.dumps(_head(session)).encode() + b"\n"
    application = f"envctl dump {os.urandom(6).hex()}"
    checked = moment.Checked(connection, application, target, head)
    arguments = [connection.user or "", connection.database or "", application]
    with checked.watching():
        code, said = inside.stream(["sh", "-c", _DUMP, "envctl", *arguments], stdout=checked)
    if code:
        raise _failed(connection, aim, "pg_dump", code, said)


def _head(session: Client) -> dict[str, Any]:
    return {
        "version": session.version,
        "owner": session.rows(_OWNER)[0][0],
        "user": session.rows("SELECT current_user")[0][0],
        "roles": [role for (role,) in session.rows(_ROLES)],
        "settings": [list(row) for row in session.rows(_SETTINGS)],
        "stubs": stubs.needed(session),
    }


# -- restoring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """A database that holds what was saved, beside the environment's own."""

    connection: Connection
    roles: Sequence[str]

    def commit(self) -> None:
        """Put it in the place of the environment's own, from which everybody is sent away. Raises DataFailed."""
        takeover.take_over(self.connection)

    def abort(self) -> None:
        """Remove it again."""
        try:
            _remove(self.connection, self.roles)
        except DataFailed:  # the next restore removes it
            return


def restore(connection: Connection, source: BinaryIO, inside: Streams) -> Restored:
    """Read what `save` wrote into a database beside the environment's own.

    Args:
        connection: The service.
        source: What was saved.
        inside: Runs programs where the server is.

    Raises:
        DataFailed: It could not be restored; nothing was changed.
        SnapshotInvalid: It is nothing that `save` has written, or of a newer server.
    """
    head = _read_head(connection, source)
    aim = f'restore database "{connection.database}"'
    takeover.recover(connection)
    beside = connection_to(connection, takeover.new_name(connection))
    made: list[str] = []
    try:
        with takeover.maintenance(connection, aim, _LIMIT_S) as session:
            made += _make_roles(session, head["roles"])
            owner = identifier(head["owner"])
            session.rows(f"CREATE DATABASE {identifier(beside.database or '')} OWNER {owner} TEMPLATE template0")
            version = session.version
        with asking(connection, aim), Client(beside, _LIMIT_S) as session:
            stubs.make(session, head["stubs"])
        arguments = [connection.user or "", beside.database or ""]
        code, said = inside.stream(["sh", "-c", _RESTORE, "envctl", *arguments], stdin=source)
        if code:
            raise _not_restored(connection, aim, code, said, head["version"], version)
        _finish(connection, beside, head, made, aim)
    except BaseException:
        Restored(connection, made).abort()
        raise
    return Restored(connection, made)


def _finish(connection: Connection, beside: Connection, head: dict[str, Any], made: list[str], aim: str) -> None:
    """What the new database lacks: the settings of the former; and takes away what it must not have."""
    with asking(connection, aim), Client(beside, _LIMIT_S) as session:
        stubs.remove(session)
        for role, setting in head["settings"]:
            set_for_database(session, beside.database or "", role, setting)
        former = head["user"]
        if former in made:  # the environment it was saved in called its user otherwise
            whose, ours = identifier(former), identifier(connection.user or "")
            session.rows(f"REASSIGN OWNED BY {whose} TO {ours}; DROP OWNED BY {whose}")
            session.rows(f"DROP ROLE {whose}")
            made.remove(former)


def _make_roles(session: Client, roles: Sequence[str]) -> list[str]:
    """The roles that own things, or have rights, and are missing here: made, but nobody can log in as one of them."""
    there = {role for (role,) in session.rows("SELECT rolname FROM pg_roles")}
    missing = [role for role in roles if role not in there]
    for role in missing:
        session.rows(f"CREATE ROLE {identifier(role)} NOLOGIN")
    return missing


def _remove(connection: Connection, roles: Sequence[str]) -> None:
    with takeover.maintenance(connection, "remove what was not restored") as session:
        session.rows(f"DROP DATABASE IF EXISTS {identifier(takeover.new_name(connection))} WITH (FORCE)")
        for role in roles:
            session.rows(f"DROP ROLE IF EXISTS {identifier(role)}")


def _read_head(connection: Connection, source: BinaryIO) -> dict[str, Any]:
    kinds: dict[str, type] = {"version": int, "owner": str, "user": str, "roles": list, "settings": list, "stubs": list}
    try:
        if source.readline(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as a dump of PostgreSQL does")
        head = json.loads(source.readline(_LONGEST_HEAD))
        if not isinstance(head, dict) or any(not isinstance(head.get(key), kind) for key, kind in kinds.items()):
            raise ValueError("its second line is not what it should be")
        _check_words(head)
    except ValueError as error:
        raise SnapshotInvalid(
            f'what the snapshot holds for service "{connection.service}" is no dump of envctl',
            cause=str(error),
            subject={"service": connection.service},
            state="nothing was changed",
        ) from None
    return head


def _check_words(head: dict[str, Any]) -> None:
    pairs = [*head["settings"], *head["stubs"]]
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("its second line does not hold pairs where it should")
    words = [*head["roles"], *(word for pair in pairs for word in pair if word is not None)]
    if not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError("its second line holds something else than words")


# -- failing -----------------------------------------------------------------------------------------------------------


def _not_restored(
    connection: Connection, aim: str, code: int, said: str, saved_by: int, version: int
) -> DataFailed | SnapshotInvalid:
    if saved_by <= version or "unsupported version" not in said:
        return _failed(connection, aim, "pg_restore", code, said)
    return SnapshotInvalid(
        f'the snapshot does not fit service "{connection.service}"',
        cause=f"it was saved by PostgreSQL {saved_by}, and the service is PostgreSQL {version}, which cannot read it",
        fix=[f"give the service an image of PostgreSQL {saved_by} or newer"],
        subject={"service": connection.service},
        state="nothing was changed",
    )


def _failed(connection: Connection, aim: str, program: str, code: int, said: str) -> DataFailed:
    missing = code == _NOT_FOUND
    lines = said.strip().splitlines()[-_SHOWN_LINES:]
    return DataFailed(
        f"cannot {aim}",
        cause=f"{program} is not there, where the server is" if missing else f"{program} ended with code {code}",
        evidence=lines,
        fix=[f"use an image, or a package, of PostgreSQL that has {program}"] if missing else (),
        subject={"service": connection.service, "database": connection.database},
    )
