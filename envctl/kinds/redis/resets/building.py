"""A large baseline is built beside what is there, a few keys at a time; for whoever resets again and again, ahead."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from envctl.errors import DataError, Refused
from envctl.kinds.redis import proof
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.protocol.link import LIMIT_S, Link
from envctl.kinds.redis.resets import scripts
from envctl.model import Connection

_LOST = "lost"
_BATCH = 2000  # about 3 ms, in which the server serves nobody else
_BATCH_AHEAD = 500  # a test is running meanwhile


def build(
    link: Link, number: int, baseline_id: str, batch: int = _BATCH, goes_on: Callable[[], bool] = lambda: True
) -> str | None:
    """Copy the baseline into a database's spare one.

    Args:
        link: The server.
        number: The database.
        baseline_id: Which baseline.
        batch: How many keys at a time.
        goes_on: False ends it.

    Returns:
        What proves that we have built it, or None where somebody else is at it, or something came between.

    Raises:
        ReplyError: The server refuses something.
        OSError: The connection ended.
    """
    token = os.urandom(8).hex()
    if not link.run(scripts.BEGIN, number, token):
        return None
    cursor = "0"
    while goes_on():
        (cursor,) = link.texts(scripts.BUILD, number, token, baseline_id, cursor, batch)
        if cursor == _LOST:
            return None
        if cursor == "0":
            return token
    link.run(scripts.GIVE_UP, number, token)
    return None


def finish(link: Link, number: int, baseline_id: str, token: str) -> bool:
    """Put what was built in its place; False where something came between. Raises ReplyError, OSError."""
    with link.patiently():
        return link.texts(scripts.FINISH, number, token, baseline_id) == ["1"]


class Ahead:
    """Builds for the next reset while a test runs. What goes wrong is left to that reset.

    Args:
        connection: The server.
        number: The database.
        baseline_id: Which baseline.
    """

    def __init__(self, connection: Connection, number: int, baseline_id: str) -> None:
        self._connection, self._number, self._baseline_id = connection, number, baseline_id
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="envctl-redis-ahead", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when it is done."""
        self._thread.join()

    def stop(self) -> None:
        """End it; what it has built is thrown away."""
        self._stopped.set()
        self.wait()
        with suppress(ReplyError, OSError, DataError, Refused), self._connect() as link:
            link.run(scripts.GIVE_UP, self._number, "")

    def _connect(self) -> Link:
        return proof.connect(self._connection, LIMIT_S)

    def _run(self) -> None:
        with suppress(ReplyError, OSError, DataError, Refused), self._connect() as link:
            proof.check(link, self._connection)
            token = build(link, self._number, self._baseline_id, _BATCH_AHEAD, lambda: not self._stopped.is_set())
            if token is not None:
                link.run(scripts.KEEP_READY, self._number, token, self._baseline_id)
