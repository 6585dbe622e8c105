"""A connection to the server for work on its data: scripts run there, and what goes wrong in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from functools import cached_property

from envctl.errors import DataFailed
from envctl.kinds.redis import client
from envctl.kinds.redis.client import Reply, ReplyError
from envctl.kinds.redis.protocol.layout import DATABASES
from envctl.model import Connection

LIMIT_S = 600.0  # for one answer: a script that copies millions of keys

_TOO_FEW = "DB index is out of range"
_UNKNOWN = "NOSCRIPT"
_RUN = re.compile(r"\brun_id:(\w+)")
_PATIENCE = "lua-time-limit"


@dataclass(frozen=True)
class Script:
    """A program in the server's own language. What it reads and writes, nobody sees half done."""

    text: str

    @cached_property
    def digest(self) -> str:
        """What the server knows it by."""
        from hashlib import sha1

        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def settings_for(connection: Connection, database: str | None = None) -> client.Settings:
    """What our client needs to reach a service.

    Args:
        connection: The service.
        database: Number of the logical database; None for the first.
    """
    return client.Settings(
        connection.host,
        str(connection.port),
        database or "0",
        user=connection.user or "",
        password=connection.password or "",
    )


class Link:
    """A connection, logged in, at database 0.

    Args:
        connection: The server.
        limit_s: How long one answer may take, seconds.

    Raises:
        ReplyError: The server lets us not in.
        OSError: There is none.
    """

    def __init__(self, connection: Connection, limit_s: float = LIMIT_S) -> None:
        self._client = client.Connection(settings_for(connection), limit_s)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._client.close()

    def ask(self, *words: str | bytes) -> Reply:
        """The answer to a command. Raises ReplyError where it is an error, OSError when the connection ends."""
        answer = self._client.ask(words)
        if isinstance(answer, ReplyError):
            raise answer
        return answer

    def run(self, script: Script, *arguments: str | bytes | int) -> Reply:
        """What a script returns; as `ask`."""
        words = [word if isinstance(word, bytes) else str(word) for word in arguments]
        try:
            return self.ask("EVALSHA", script.digest, "0", *words)
        except ReplyError as error:
            if not str(error).startswith(_UNKNOWN):
                raise
        return self.ask("EVAL", script.text, "0", *words)

    def texts(self, script: Script, *arguments: str | bytes | int) -> list[str]:
        """What a script returns, as texts, where that is a list."""
        answer = self.run(script, *arguments)
        items = answer if isinstance(answer, list) else [answer]
        return [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in items]

    def name(self) -> str:
        """What tells this connection from every other, also from those of the server's next start."""
        number, answer = self.ask("CLIENT", "ID"), self.ask("INFO", "server")
        found = _RUN.search(answer.decode(errors="replace")) if isinstance(answer, bytes) else None
        return f"{found[1] if found else '?'} {number!s}"

    def is_named(self, name: str) -> bool:
        """Whether the connection of this name is still there, as far as can be told."""
        run, _, number = name.partition(" ")
        if run != self.name().partition(" ")[0]:
            return False
        try:
            return bool(self.ask("CLIENT", "LIST", "ID", number))
        except ReplyError:  # before Redis 6.2
            return True

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """For a script that takes seconds: whoever asks meanwhile waits, and is not told that the server is busy."""
        before = self._setting(_PATIENCE)
        if before is not None:
            self.ask("CONFIG", "SET", _PATIENCE, "0")
        try:
            yield
        finally:
            if before is not None:
                self.ask("CONFIG", "SET", _PATIENCE, before)

    def _setting(self, name: str) -> bytes | None:
        try:
            answer = self.ask("CONFIG", "GET", name)
        except ReplyError:  # a server whose CONFIG was taken away
            return None
        return answer[1] if isinstance(answer, list) and len(answer) == 2 and isinstance(answer[1], bytes) else None


@contextmanager
def explained(connection: Connection, doing: str) -> Iterator[None]:
    """Has what goes wrong with the connection or the server end in a DataFailed: "cannot DOING of Redis"."""
    try:
        yield
    except ReplyError as refusal:
        raise _refused(connection, doing, str(refusal)) from None
    except TimeoutError:
        raise failed(connection, doing, "it did not answer in time") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == ENOSPC:  # of a file here, to which a dump is written
            raise
        cause = f"the connection failed: {error or type(error).__name__}"
        fix = ["envctl up starts it again, if it has ended", f"envctl logs {connection.service}"]
        raise failed(connection, doing, cause, fix) from None


def failed(connection: Connection, doing: str, cause: str, fix: Sequence[str] = ()) -> DataFailed:
    """The error: "cannot DOING of Redis"."""
    return DataFailed(
        f"cannot {doing} of Redis",
        cause=cause,
        fix=fix or [f"envctl logs {connection.service}"],
        subject={"service": connection.service, "database": connection.database},
    )


def _refused(connection: Connection, doing: str, words: str) -> DataFailed:
    if _TOO_FEW not in words:
        return failed(connection, doing, f"it says: {words}")
    fix = [
        f"envctl starts its own servers with {DATABASES}: envctl up, after the upgrade",
        f"take `--databases` out of services.{connection.service}.command, or set it to {DATABASES}",
    ]
    return failed(connection, doing, f"it has fewer than {DATABASES} logical databases", fix)
