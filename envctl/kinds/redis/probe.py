"""One try of the Redis handshake: AUTH with this environment's password, PING, and the data set loaded."""

from __future__ import annotations

from envctl.model import Attempt, Connection
from envctl.ready.answers import PASSWORD_REFUSED, not_yet, ready
from envctl.ready.stream import Garbled, Stream, converse

_MOST_BYTES = 64 * 1024

# What an error reply begins with, and what it means here.
_MEANING = {
    "WRONGPASS": f"{PASSWORD_REFUSED}: another server answers on this port",
    "ERR invalid password": f"{PASSWORD_REFUSED}: another server answers on this port",  # before Redis 6
    "ERR Client sent AUTH": "has no password set: it is not this environment's server",  # before Redis 6
    "ERR AUTH": "has no password set: it is not this environment's server",
    "NOAUTH": "asks for a password, but this environment has none for it",
    "LOADING": "loads its data",
    "MASTERDOWN": "is a replica whose master does not answer",
    "DENIED": "runs in protected mode: it has no password and refuses clients from outside",
}


def attempt(connection: Connection, limit_s: float) -> Attempt:
    """AUTH, SELECT the URL's database, PING and `loading:0`, in one round trip within `limit_s` seconds."""
    return converse(connection.host, connection.port or 0, limit_s, lambda stream: _talk(stream, connection))


def _talk(stream: Stream, connection: Connection) -> Attempt:
    commands = [["PING"], ["INFO", "persistence"]]
    if (connection.database or "0") != "0":
        commands.insert(0, ["SELECT", connection.database or "0"])
    if connection.password:
        commands.insert(0, ["AUTH", connection.password])
    stream.send(b"".join(_command(words) for words in commands))
    replies = {}
    for words in commands:
        kind, text = _reply(stream)
        if kind == b"-":
            return not_yet(_meaning(words[0], text))
        replies[words[0]] = text
    if replies["PING"] != "PONG":
        return not_yet("answers PING with something else than PONG")
    persistence = replies["INFO"].split("\r\n")
    if "loading:0" not in persistence:
        return not_yet("loads its data" if "loading:1" in persistence else "does not say whether its data is loaded")
    return ready("AUTH, PING and loading:0 answered" if connection.password else "PING and loading:0 answered")


def _command(words: list[str]) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _reply(stream: Stream) -> tuple[bytes, str]:
    line = stream.until(b"\r\n", _MOST_BYTES)[:-2]
    kind, text = line[:1], line[1:].decode("utf-8", "replace")
    if kind == b"$":
        if not (text.isascii() and text.isdecimal() and len(text) < 6):
            raise Garbled(f"a Redis string cannot have the length {text[:20]!r}")
        return kind, stream.exactly(int(text) + 2)[:-2].decode("utf-8", "replace")
    if kind not in {b"+", b"-"}:
        raise Garbled(f"a Redis reply cannot begin with {line[:20]!r}")
    return kind, text


def _meaning(command: str, text: str) -> str:
    for beginning, meaning in _MEANING.items():
        if text.startswith(beginning):
            return meaning
    return f"refuses {command}: {text[:200]}"
