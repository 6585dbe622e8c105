"""Sessions in which envctl does something to the data; whatever goes wrong in them becomes one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC

from envctl.errors import DataFailed
from envctl.kinds.postgres.data import connection_to
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

LIMIT_S = 600.0
"""How long one statement may take: copies of large tables are made by one."""

# A database may have settings of its own, which are for the application. Texts must be read as they were written,
# nobody may be waited for without end, and no trigger of the application has to do with what envctl does.
_SETTINGS = (
    "client_min_messages=error",
    "default_transaction_isolation='read committed'",
    "default_transaction_read_only=off",
    "synchronous_commit=off",
    "statement_timeout=0",
    "lock_timeout='1s'",
    "idle_in_transaction_session_timeout=0",
    "datestyle='ISO, MDY'",
    "intervalstyle=postgres",
    "timezone='UTC'",
    "extra_float_digits=1",
    "bytea_output=hex",
    "xmloption=content",
    "jit=off",
    "work_mem='64MB'",
    "max_parallel_workers_per_gather=0",
)
_SUPERUSERS = (
    "session_replication_role=replica",
    "allow_system_table_mods=on",
    "deadlock_timeout='100ms'",
)
_SINCE = {14: ("idle_session_timeout=0",), 17: ("transaction_timeout=0",)}


@contextmanager
def asking(connection: Connection, aim: str) -> Iterator[None]:
    """What goes wrong with a server inside becomes a DataFailed: "cannot `aim`"."""
    try:
        yield
    except ServerError as error:
        cause = f"PostgreSQL says: {error.text} ({error.code or 'no code'})"
        raise _failed(connection, aim, cause, *error.more) from None
    except TimeoutError:
        raise _failed(connection, aim, "PostgreSQL did not answer in time") from None
    except (OSError, Garbled) as error:
        if isinstance(error, OSError) and error.errno == ENOSPC:  # of a file here, to which a dump is written
            raise
        raise _failed(connection, aim, f"the connection failed: {error or type(error).__name__}") from None


def prepare(client: Client) -> bool:
    """Set a session up for work on the data; whether its user is a superuser. Raises what `Client.rows` raises."""
    settings = [*_SETTINGS, *(word for since, words in _SINCE.items() if client.version >= since for word in words)]
    ((answer,),) = client.rows(_sets(settings) + "SELECT current_setting('is_superuser')")
    if answer == "on":
        client.rows(_sets(_SUPERUSERS))
    return answer == "on"


def beside(connection: Connection) -> Connection:
    """Another database of the same server, from which a database can be renamed."""
    return connection_to(connection, "template1" if connection.database == "postgres" else "postgres")


def _sets(settings: list[str] | tuple[str, ...]) -> str:
    return "".join(f"SET {setting};" for setting in settings)


def _failed(connection: Connection, aim: str, cause: str, *evidence: str) -> DataFailed:
    subject = {"service": connection.service, "database": connection.database}
    return DataFailed(f"cannot {aim}", cause=cause, evidence=evidence, subject=subject)
