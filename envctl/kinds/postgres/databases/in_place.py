"""Puts back a copy of a baseline's template, under a new name and without whoever was connected.

It is done in a session in the copy: one that was there before needs a tenth of the time of a new one, in which Postgres
would read its catalogs and compile functions anew. `ALTER DATABASE … RENAME` wants nobody to be connected, so the name
is written into the catalog, as that command does. What its lock is for, a look does here: whoever is about to connect
by the old name holds a lock on the database until its session can be seen. Both are sent away.
"""

from __future__ import annotations

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.postgres.data import NATURE, connection_to
from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.protocol.client import Client, literal
from envctl.model import Connection

_ENDING_S, _LOOK_AGAIN_S = 5.0, 0.0005
# A test may want to drop, rename or copy its database: Postgres then waits five seconds until all others have left.
_STAYS, _STAYS_SINCE = "SET idle_session_timeout = '500ms'; SET log_min_messages = panic", 14
_RENAME = "BEGIN; UPDATE pg_database SET datname = %s WHERE datname = current_database(); COMMIT;"
# The locks come first: who is about to connect has its session before it gives up its lock. These functions are what
# is behind pg_locks and pg_stat_activity, in a third of the time.
_SEND_AWAY = """
WITH own AS (SELECT oid FROM pg_database WHERE datname = current_database())
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_lock_status(), own
    WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid = own.oid
    UNION ALL
    SELECT pid FROM pg_stat_get_activity(NULL), own
    WHERE datid = own.oid AND backend_type <> 'autovacuum worker'
) others WHERE pid <> pg_backend_pid();"""
_RESET = "; SELECT CASE WHEN strategy = 'template' THEN strategy ELSE (envctl.reset()).outcome END FROM envctl.meta"


class Copy:
    """A copy of a baseline's template, which can be put back and used again. For one thread.

    Args:
        connection: Where it is.
        nature: What was true of it outside when it was new.

    Attributes:
        connection: Where it is now.
    """

    def __init__(self, connection: Connection, nature: str) -> None:
        self.connection = connection
        self._nature = nature
        self._client: Client | None = None

    @property
    def name(self) -> str:
        """The database's name now."""
        return self.connection.database or ""

    def put_back(self, name: str) -> bool:
        """Have it hold what the template holds, under a name by which nobody has reached it yet.

        Args:
            name: The new name; no database has it.

        Returns:
            Whether that is so. If not, it is to be thrown away; it has the one name or the other.
        """
        tries = 2 if self._client else 1  # the session that stayed may have ended
        done = any(self._tried(name) for _ in range(tries))
        if done:
            self.connection = connection_to(self.connection, name)
        return done

    def close(self) -> None:
        """End the session that stays."""
        client, self._client = self._client, None
        if client:
            with client:
                pass

    def _tried(self, name: str) -> bool:
        done = stays = False
        try:
            with asking(self.connection, "put a database back"):
                client = self._session()
                stays = client.version >= _STAYS_SINCE
                done = self._put_back(client, name)
        except (DataFailed, OSError, ValueError):
            pass
        if not (done and stays):
            self.close()
        return done

    def _put_back(self, client: Client, name: str) -> bool:
        """Rename it, then send others away and put it back until there were none."""
        until_s = clock.monotonic_s() + _ENDING_S
        look = _SEND_AWAY + NATURE % literal(name) + _RESET
        (others,), *found = client.rows(_RENAME % literal(name) + look)
        while found == [(self._nature,), ("done",)] and others != "0" and clock.monotonic_s() < until_s:
            clock.sleep_s(_LOOK_AGAIN_S)
            (others,), *found = client.rows(look)
        return (others, *found) == ("0", (self._nature,), ("done",))

    def _session(self) -> Client:
        if self._client is None:
            self._client = client = Client(self.connection, LIMIT_S)
            if not prepare(client):
                raise DataFailed("only a superuser puts a database back in its place")
            if client.version >= _STAYS_SINCE:
                client.rows(_STAYS)
        return self._client
