"""Whether a pg_dump has really seen one moment.

It takes its snapshot first and locks the tables afterwards. One that somebody empties by TRUNCATE, or rewrites, in
between looks empty to it, while all others look as they did before: half of a moment. To lock them first, in another
session, is no way out: pg_dump would queue behind whoever waits to empty one, and that one waits for the other session.

So this looks, until pg_dump takes its snapshot, which file each table has, and again when it has its locks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import BinaryIO

from envctl.host import clock
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

_LIMIT_S = 30.0
_PAUSE_S = 0.003
# A transaction that has a snapshot holds back the removal of old rows (backend_xmin).
_LOOK = """
SELECT c.oid, c.relfilenode, EXISTS (SELECT 1 FROM pg_stat_activity
  WHERE application_name = %s AND datname = current_database() AND backend_xmin IS NOT NULL)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('information_schema', 'envctl') AND n.nspname !~ '^pg_'"""


class Torn(Exception):
    """A table was emptied or rewritten between snapshot and lock: what was dumped is of two moments."""


class Checked:
    """Takes what pg_dump writes, and hands it on once it has proved to be of one moment.

    All that pg_dump writes comes after it has its locks, and it keeps them to its end.

    Args:
        connection: The database.
        application: The name under which that pg_dump is known to the server.
        target: Where it goes.
        head: Goes in front of it.
    """

    def __init__(self, connection: Connection, application: str, target: BinaryIO, head: bytes) -> None:
        self._connection, self._application, self._target, self._head = connection, application, target, head
        self._before: Mapping[str, str] = {}
        self._stop = Event()
        self._is_checked = False
        self._thread = Thread(target=self._watch, daemon=True)

    def write(self, piece: bytes) -> int:
        """Hand it on. Raises Torn."""
        if not self._is_checked:
            self._end()
            with Client(self._connection, _LIMIT_S) as session:
                now, _ = _look(session, self._application)
            if any(now.get(table, file) != file for table, file in self._before.items()):
                raise Torn
            self._is_checked = True
            self._target.write(self._head)
        return self._target.write(piece)

    @property
    def is_watching(self) -> bool:
        """Whether pg_dump has not been seen to have its snapshot."""
        return self._thread.is_alive()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look while the block runs that starts pg_dump; from before it starts."""
        with Client(self._connection, _LIMIT_S) as session:
            self._before, _ = _look(session, self._application)
        self._thread.start()
        try:
            yield
        finally:
            self._end()

    def _watch(self) -> None:
        """The last look before the snapshot counts; where the server is gone, pg_dump says so itself."""
        try:
            with Client(self._connection, _LIMIT_S) as session:
                while not self._stop.is_set():
                    seen, has_snapshot = _look(session, self._application)
                    if has_snapshot:
                        return
                    self._before = seen
                    clock.sleep_s(_PAUSE_S)
        except (ServerError, Garbled, OSError):
            return

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()


def _look(session: Client, application: str) -> tuple[Mapping[str, str], bool]:
    """Table → file, and whether pg_dump has its snapshot by now."""
    found = session.rows(_LOOK, application)
    return {str(oid): str(file) for oid, file, _ in found}, any(begun == "t" for _, _, begun in found)
