"""A small `redis-cli`, for machines that have none. It is run as a program of its own and imports nothing of envctl.

It takes the arguments people and scripts use most: `-h HOST -p PORT -n DATABASE -a PASSWORD --raw --no-raw`, then a
command; without one it reads commands, one per line. The password may also be in the variable REDISCLI_AUTH.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TypeAlias

_USAGE = "usage: redis-cli [-h HOST] [-p PORT] [-n DATABASE] [--raw|--no-raw] [COMMAND [ARGUMENT...]]"
_LIMIT_S = 10.0
_AT_ONCE = 500
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b", '"': '\\"', "\\": "\\\\"}
_VALUED = {"-h": "host", "-p": "port", "-n": "database", "-a": "password", "--user": "user", "--pass": "password"}


class ReplyError(Exception):
    """The server's answer is an error."""


class Status(str):
    """A simple string, "OK"."""

    __slots__ = ()


Reply: TypeAlias = "bytes | int | list[Reply] | ReplyError | Status | None"
"""An answer of the server."""


@dataclass
class Settings:
    """What the arguments say."""

    host: str = "127.0.0.1"
    port: str = "6379"
    database: str = "0"
    user: str = ""
    password: str = ""
    raw: bool | None = None
    command: list[str] = field(default_factory=list)


class UsageError(Exception):
    """The arguments cannot be understood."""


def parse(words: Sequence[str], environ: dict[str, str]) -> Settings:
    """The arguments. Raises UsageError."""
    settings = Settings(password=environ.get("REDISCLI_AUTH", ""))
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in {"--raw", "--no-raw"}:
            settings.raw = word == "--raw"
        elif word in _VALUED and rest:
            setattr(settings, _VALUED[word], rest.pop(0))
        elif word not in {"--no-auth-warning", "-3", "-2", "--"}:
            raise UsageError(f"this small redis-cli does not know {word}; install redis-cli to use it")
    settings.command = rest
    if not settings.port.isdigit() or not settings.database.isdigit():
        raise UsageError("a port and a database are numbers")
    return settings


class Connection:
    """A connection to a server, logged in.

    Args:
        settings: Where, and as whom.
        limit_s: How long each answer may take, in seconds; None for commands that block for as long as they are told.

    Raises:
        ReplyError: The server lets us not in.
        OSError: There is none.
    """

    def __init__(self, settings: Settings, limit_s: float | None = None) -> None:
        self._socket = socket.create_connection((settings.host, int(settings.port)), _LIMIT_S)
        self._socket.settimeout(limit_s)
        self._answers: BinaryIO = self._socket.makefile("rb")
        try:
            if settings.password:
                self._need("AUTH", *([settings.user] if settings.user else []), settings.password)
            if settings.database != "0":
                self._need("SELECT", settings.database)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self._answers.close()
        self._socket.close()

    def _need(self, *words: str) -> None:
        answer = self.ask(words)
        if isinstance(answer, ReplyError):
            raise answer

    def ask(self, words: Sequence[str | bytes]) -> Reply:
        """The answer to a command. Raises OSError when the connection ends."""
        self._socket.sendall(_encoded(words))
        return self.answer()

    def ask_many(self, commands: Iterable[Sequence[str | bytes]]) -> Iterator[Reply]:
        """The answer to each command; many are sent at once. Raises OSError when the connection ends."""
        left = iter(commands)
        while some := [_encoded(words) for words in islice(left, _AT_ONCE)]:
            self._socket.sendall(b"".join(some))
            for _ in some:
                yield self.answer()

    def answer(self) -> Reply:
        """The next answer (RESP2)."""
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Server closed the connection")
        sort, text = line[:1], line[1:-2]
        if sort == b"+":
            return Status(text.decode(errors="replace"))
        if sort == b"-":
            return ReplyError(text.decode(errors="replace"))
        if sort == b":":
            return int(text)
        if sort == b"$":
            return self._bulk(int(text))
        if sort == b"*":
            return None if int(text) < 0 else [self.answer() for _ in range(int(text))]
        raise ConnectionError("this is no Redis server")

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        data = self._answers.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionError("Server closed the connection")
        return data[:-2]


def _encoded(words: Sequence[str | bytes]) -> bytes:
    parts = [os.fsencode(word) for word in words]
    return b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)))


# -- printing ----------------------------------------------------------------------------------------------------------


def shown(reply: Reply, indent: str = "") -> str:
    """An answer as people read it, with its types."""
    if isinstance(reply, ReplyError):
        return f"(error) {reply}"
    if isinstance(reply, Status):
        return str(reply)
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if reply is None:
        return "(nil)"
    if isinstance(reply, bytes):
        return quoted(reply)
    if not reply:
        return "(empty array)"
    width = len(str(len(reply)))
    below = indent + " " * (width + 2)
    lines = [f"{number:>{width}}) {shown(item, below)}" for number, item in enumerate(reply, 1)]
    return f"\n{indent}".join(lines)


def quoted(data: bytes) -> str:
    """A string in quotes, with everything but ASCII escaped."""
    text = "".join(_ESCAPES.get(chr(b)) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)
    return f'"{text}"'


def plain(reply: Reply) -> bytes:
    """An answer as programs read it: one value per line."""
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, list):
        return b"\n".join(plain(item) for item in reply)
    return b"" if reply is None else str(reply).encode()


# -- running -----------------------------------------------------------------------------------------------------------


def main(words: Sequence[str], environ: dict[str, str]) -> int:
    """Run it; the exit code."""
    try:
        settings = parse(words, environ)
        connection = Connection(settings)
        if settings.command:
            return _one(connection, settings.command, raw=_is_raw(settings))
        return _many(connection, settings, raw=_is_raw(settings))
    except UsageError as error:
        _complain(f"{error}\n{_USAGE}")
    except ReplyError as error:
        _complain(f"AUTH failed: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on
    except OSError as error:
        _complain(f"Could not connect to Redis: {error}")
    except KeyboardInterrupt:
        return 130
    return 1


def _is_raw(settings: Settings) -> bool:
    return not sys.stdout.isatty() if settings.raw is None else settings.raw


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


def _one(connection: Connection, words: Sequence[str], *, raw: bool) -> int:
    reply = connection.ask(words)
    _print(reply, raw=raw)
    while words[0].lower() in {"subscribe", "psubscribe", "ssubscribe", "monitor"}:
        _print(connection.answer(), raw=raw)
    return 1 if isinstance(reply, ReplyError) else 0


def _print(reply: Reply, *, raw: bool) -> None:
    out = sys.stdout.buffer
    out.write((plain(reply) if raw else shown(reply).encode()) + b"\n")
    out.flush()


def _many(connection: Connection, settings: Settings, *, raw: bool) -> int:
    code = 0
    for line in _lines(f"{settings.host}:{settings.port}> "):
        try:
            words = shlex.split(line)
        except ValueError:
            _complain("Invalid argument(s)")
            continue
        if not words:
            continue
        if words[0].lower() in {"quit", "exit"}:
            break
        code = _one(connection, words, raw=raw)
    return code


def _lines(prompt: str) -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its line editing
    while True:
        try:
            yield input(prompt)
        except EOFError:
            sys.stdout.write("\n")
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
