"""As much of PostgreSQL's protocol 3.0 as a login and simple queries need.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", Message Formats.
"""

from __future__ import annotations

from envctl.ready.stream import Garbled, Stream

_MOST_BYTES = 64 * 1024


def startup(user: str, database: str) -> bytes:
    """The first message of a connection."""
    settings = {"user": user, "database": database, "application_name": "envctl"}
    words = b"".join(_text(name) + _text(value) for name, value in settings.items())
    body = (196608).to_bytes(4, "big") + words + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def password(word: bytes) -> bytes:
    """An answer to a request for the password, as text or as a hash."""
    return _message(b"p", word + b"\0")


def sasl_initial(mechanism: bytes, data: bytes) -> bytes:
    """The first answer of a SASL exchange."""
    return _message(b"p", mechanism + b"\0" + len(data).to_bytes(4, "big") + data)


def sasl_response(data: bytes) -> bytes:
    """Any later answer of a SASL exchange."""
    return _message(b"p", data)


def query(sql: str | bytes) -> bytes:
    """A simple query; bytes are in the session's encoding, and hold no zero."""
    return _message(b"Q", _text(sql) if isinstance(sql, str) else sql + b"\0")


def copy_data(piece: bytes) -> bytes:
    """A piece of what is copied into a table; it need not end with a line."""
    return _message(b"d", piece)


def copy_fail(reason: str) -> bytes:
    """The end of a copy that is not to be kept."""
    return _message(b"f", _text(reason))


COPY_DONE = b"c\0\0\0\x04"

TERMINATE = b"X\0\0\0\x04"


def receive(stream: Stream, most_bytes: int = _MOST_BYTES) -> tuple[bytes, bytes]:
    """The next message: its type and its body. Raises Garbled for what cannot be one."""
    kind = stream.exactly(1)
    if not kind.isalpha():
        raise Garbled(f"a Postgres message cannot begin with {kind!r}")
    size = int.from_bytes(stream.exactly(4), "big")
    if not 4 <= size <= most_bytes:
        raise Garbled(f"a Postgres message cannot have {size} bytes here")
    return kind, stream.exactly(size - 4)


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an error by their letter: C is the SQLSTATE code, M the message."""
    parts = (part.decode("utf-8", "replace") for part in body.split(b"\0") if part)
    return {part[0]: part[1:] for part in parts}


def values(body: bytes) -> list[bytes | None]:
    """The values of a data row; None is NULL. Raises Garbled."""
    found: list[bytes | None] = []
    at = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size, at = int.from_bytes(body[at : at + 4], "big", signed=True), at + 4
        found.append(None if size < 0 else body[at : at + size])
        at += max(size, 0)
        if at > len(body):
            raise Garbled("a Postgres row ends too early")
    return found


def _text(word: str) -> bytes:
    return word.replace("\0", "").encode() + b"\0"


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body
