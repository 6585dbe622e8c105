"""Files put into a database, each in one transaction: SQL, and CSV with a header."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from envctl.errors import SeedFailed
from envctl.kinds.postgres.files import csvfile, sqlfile
from envctl.kinds.postgres.files.faults import Fault
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

SUFFIXES = (".sql", ".csv")

_LIMIT_S = 600.0  # for each thing that is asked of the server
_SETTINGS = b"SET client_encoding = 'UTF8'; SET client_min_messages = error; SET standard_conforming_strings = on"
_NOTICES_OUR_END = 14
_NOTICE_OUR_END = b"SET client_connection_check_interval = '500ms'"  # else a statement goes on without us


def apply(connection: Connection, path: Path, shown: str) -> None:
    """Put a file's content into a database, all of it or nothing.

    Args:
        connection: The database.
        path: The file.
        shown: How the file is called in errors.

    Raises:
        SeedFailed: It could not be; the error has file:line, the statement and the server's words.
    """
    try:
        with path.open("rb") as file:
            _apply(connection, path, file)
    except Fault as fault:
        raise _failed(connection, shown, fault) from None
    except ServerError as error:
        raise _failed(connection, shown, Fault(f"PostgreSQL says: {error.text} ({error.code})", 0)) from None
    except TimeoutError:
        cause = f"PostgreSQL did not answer within {_LIMIT_S:g} s"
        raise _failed(connection, shown, Fault(cause, 0, rolled_back=False)) from None
    except OSError as error:
        unreadable = error.filename is not None
        cause = f"{'it cannot be read' if unreadable else 'the connection failed'}: {error.strerror or error}"
        raise _failed(connection, shown, Fault(cause, 0, rolled_back=unreadable)) from None
    except Garbled as error:
        raise _failed(connection, shown, Fault(f"the connection failed: {error}", 0, rolled_back=False)) from None


def _apply(connection: Connection, path: Path, file: BinaryIO) -> None:
    with Client(connection, _LIMIT_S) as client:
        client.execute(_SETTINGS)
        if client.version >= _NOTICES_OUR_END:
            with suppress(ServerError):  # systems other than Linux cannot
                client.execute(_NOTICE_OUR_END)
        if path.suffix.lower() == ".csv":
            csvfile.run(client, file, path.stem)
        else:
            sqlfile.run(client, file)


def _failed(connection: Connection, shown: str, fault: Fault) -> SeedFailed:
    place = f"{shown}:{fault.line}" if fault.line else shown
    subject = {"service": connection.service, "file": shown, "line": fault.line or None}
    return SeedFailed(
        f"seed {place} failed",
        cause=fault.cause,
        evidence=fault.evidence,
        fix=fault.fix,
        subject={**subject, "rolled_back": fault.rolled_back},
        state=f"nothing of {shown} is in service {connection.service}" if fault.rolled_back else None,
    )
