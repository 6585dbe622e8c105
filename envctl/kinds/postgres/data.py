"""Databases beside the environment's own: templates, and copies of them for one worker or one test.

A copy by template is the fastest that Postgres has (30 ms), but nobody may be connected to what is copied. The
environment's own database often has somebody, the bundled WebSocket server for one, and nobody is sent away from it:
then it is dumped and read back once, into a template of which everything else is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import quote

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.postgres.databases import transfer
from envctl.kinds.postgres.protocol.client import Client, Row, identifier, literal
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

_LIMIT_S = 60.0
_LONGEST_NAME, _LONGEST_SUFFIX = 63, 20
_NO_DATABASE, _IN_USE = "3D000", "55006"
_WITH_STRATEGY = 15
_LOOK_AGAIN_S, _ENDING_S = 0.002, 5.0
# Parameters whose values are lists, and are kept with their quotes (GUC_LIST_QUOTE in Postgres' source).
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "session_preload_libraries",
        "search_path",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)

NATURE = """
SELECT ROW(datdba, datacl, datconnlimit, datallowconn, datistemplate, dattablespace,
           (SELECT array_agg(ROW(setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting
            WHERE setdatabase = oid),
           (SELECT array_agg(gid ORDER BY gid) FROM pg_prepared_xacts WHERE database = datname))::text
FROM pg_database WHERE datname = %s"""
"""All that is true of a database outside of it: owner, rights, settings, limits, prepared transactions."""

_COMMENTED = """
SELECT datname, description, pg_database_size(d.oid),
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datname = d.datname)
FROM pg_database d JOIN pg_shdescription ON objoid = d.oid AND classoid = 'pg_database'::regclass
WHERE starts_with(description, %s) ORDER BY 1"""


def own_name(base: str, suffix: str) -> str:
    """A database's name with a suffix of up to 20 characters, which stays whole where Postgres would cut the name."""
    return base[: _LONGEST_NAME - _LONGEST_SUFFIX] + suffix


def connection_to(base: Connection, name: str) -> Connection:
    """The same server and user, another database."""
    return replace(base, database=name, url=base.url.rsplit("/", 1)[0] + "/" + quote(name, safe=""))


class Databases:
    """The databases of one server.

    Args:
        base: The environment's own database, and the server it is on.
        limit_s: How long each thing that is asked of the server may take, in seconds.
        stays: Whether one session with the server is kept for all that is asked, until `close`.
    """

    def __init__(self, base: Connection, limit_s: float = _LIMIT_S, *, stays: bool = False) -> None:
        self._base = base
        self._limit_s = limit_s
        self._stays = stays
        self._kept: Client | None = None

    def names(self, beginning: str) -> list[str]:
        """The databases whose names begin so. Raises DataFailed."""
        with self._session("list the databases") as session:
            found = session.rows("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", beginning)
        return [str(name) for (name,) in found]

    def exists(self, name: str) -> bool:
        """Whether there is such a database. Raises DataFailed."""
        with self._session("list the databases") as session:
            return bool(session.rows("SELECT 1 FROM pg_database WHERE datname = %s", name))

    def make_template(self, name: str, inside: transfer.Inside) -> Connection:
        """A database that holds what the environment's own holds now. Nobody is disconnected from that.

        Args:
            name: Its name; there must be none of it.
            inside: Runs programs where the server is; used where somebody is connected to the environment's own.

        Raises:
            DataFailed: It could not be made; then it is not there.
        """
        base = self._base.database or ""
        with self._session(f'copy database "{base}" to "{name}"') as session:
            if _others(session, base):
                transfer.copy(session, self._base, name, inside)
            else:
                try:
                    session.rows(_copying(session, base, name))
                except ServerError as error:
                    if error.code != _IN_USE:
                        raise
                    transfer.copy(session, self._base, name, inside)  # somebody has come meanwhile
            _take_settings(session, base, name)
        return connection_to(self._base, name)

    def seal(self, template: str) -> None:
        """Let nobody connect to a template any more, and send away who is, so that it can be copied at any time.

        Args:
            template: One that `make_template` made, full by now.

        Raises:
            DataFailed: It is not there.
        """
        with self._session(f'finish template "{template}"') as session:
            session.rows(f"ALTER DATABASE {identifier(template)} WITH ALLOW_CONNECTIONS false")
            session.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", template)

    def clone(self, template: str, name: str) -> Connection:
        """A copy of a template to which nobody is connected. Raises DataFailed."""
        with self._session(f'copy template "{template}" to "{name}"') as session:
            session.rows(_copying(session, template, name))
            _take_settings(session, template, name)
        return connection_to(self._base, name)

    def rename(self, name: str, new: str) -> Connection:
        """Give a database another name, after sending away who is connected. Raises DataFailed."""
        with self._session(f'rename database "{name}"') as session:
            _send_away(session, name)
            session.rows(f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(new)}")
        return connection_to(self._base, new)

    def nature(self, name: str) -> str:
        """All that is true of a database outside of it, as `NATURE` tells it. Raises DataFailed."""
        with self._session(f'look at database "{name}"') as session:
            ((found,),) = session.rows(NATURE, name)
        return found or ""

    def describe(self, name: str, text: str) -> None:
        """Write down what a database is for, as its comment. Raises DataFailed."""
        with self._session(f'describe database "{name}"') as session:
            session.rows(f"COMMENT ON DATABASE {identifier(name)} IS {literal(text)}")

    def commented(self, beginning: str) -> list[Row]:
        """Name, comment, bytes and number of sessions of the databases whose comments begin so. Raises DataFailed."""
        with self._session("list the databases") as session:
            return session.rows(_COMMENTED, beginning)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Only one at a time is in such a block, among all who ask for this name on the server; others wait.

        Raises:
            DataFailed: It takes too long.
        """
        with self._session(f"wait for others ({name})", stays=False) as session:
            session.rows("SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)  # goes with the session
            yield

    def drop(self, *names: str) -> None:
        """Remove databases, and send away who is connected. What is not there is no error. Raises DataFailed."""
        if names:
            with self._session(f'remove database "{names[0]}"') as session:
                for name in names:
                    session.rows(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")

    def close(self) -> None:
        """End the session that was kept; the next thing that is asked begins another."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.__exit__(None, None, None)

    @contextmanager
    def _session(self, aim: str, *, stays: bool = True) -> Iterator[Client]:
        """A session in a database that nobody copies; what goes wrong in it becomes a DataFailed."""
        try:
            with ExitStack() as stack:
                kept = None
                if stays:
                    kept, self._kept = self._kept, None
                client = stack.enter_context(kept or self._client())
                yield client
                if stays and self._stays:
                    stack.pop_all()
                    self._kept = client
        except ServerError as error:
            cause = f"PostgreSQL says: {error.text} ({error.code or 'no code'})"
            raise self._failed(aim, cause, *error.more) from None
        except TimeoutError:
            raise self._failed(aim, f"PostgreSQL did not answer within {self._limit_s:g} s") from None
        except (OSError, Garbled) as error:
            raise self._failed(aim, f"the connection failed: {error or type(error).__name__}") from None

    def _client(self) -> Client:
        first, *second = [name for name in ("postgres", "template1") if name != self._base.database]
        try:
            return Client(connection_to(self._base, first), self._limit_s)
        except ServerError as error:
            if error.code != _NO_DATABASE or not second:
                raise
        return Client(connection_to(self._base, second[0]), self._limit_s)

    def _failed(self, aim: str, cause: str, *evidence: str) -> DataFailed:
        subject = {"service": self._base.service, "database": self._base.database}
        return DataFailed(f"cannot {aim}", cause=cause, evidence=evidence, subject=subject)


def _others(session: Client, name: str) -> bool:
    """Whether somebody stays connected to a database; a look of envctl itself is over in a moment."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
    nobody = " AND backend_type <> 'autovacuum worker' AND application_name <> 'envctl'"
    return bool(session.rows(sql + nobody, name))


def _send_away(session: Client, name: str) -> None:
    """End the sessions of a database, and wait until they have ended: Postgres would look only ten times a second."""
    until_s = clock.monotonic_s() + _ENDING_S
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    while session.rows(sql, name) and clock.monotonic_s() < until_s:
        clock.sleep_s(_LOOK_AGAIN_S)


def _copying(session: Client, source: str, name: str) -> str:
    strategy = " STRATEGY file_copy" if session.version >= _WITH_STRATEGY else ""
    return f"CREATE DATABASE {identifier(name)} TEMPLATE {identifier(source)}{strategy}"


def _take_settings(session: Client, source: str, name: str) -> None:
    """Give a copy what was set for its source by ALTER DATABASE, which Postgres leaves out."""
    found = session.rows(
        "SELECT role.rolname, unnest(setconfig) FROM pg_db_role_setting"
        " JOIN pg_database ON pg_database.oid = setdatabase LEFT JOIN pg_roles role ON role.oid = setrole"
        " WHERE datname = %s",
        source,
    )
    for role, setting in found:
        set_for_database(session, name, role, setting or "")


def set_for_database(session: Client, name: str, role: str | None, setting: str) -> None:
    """Set what `key=value` says, for all sessions in a database, or for those of a role. Raises ServerError."""
    key, _, value = setting.partition("=")
    whose = f"ROLE {identifier(role)} IN DATABASE" if role else "DATABASE"
    parameter = ".".join(map(identifier, key.split(".")))
    quoted = value if value and key in _LISTS else literal(value)
    session.rows(f"ALTER {whose} {identifier(name)} SET {parameter} TO {quoted}")
