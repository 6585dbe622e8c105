"""The messages: what clients may say, and what the server says. Pure; one place for both directions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NoReturn, TypeAlias

RequestId: TypeAlias = str | int | None
Source: TypeAlias = Literal["client", "postgres"]

MAX_NAME_LENGTH = 200
"""The longest channel name and the longest text as a request's id, in characters."""


class Rejected(Exception):
    """A request that is answered with an error; the connection stays open."""

    def __init__(self, code: str, message: str, request_id: RequestId = None, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.request_id, self.retryable = code, message, request_id, retryable


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Start receiving a channel."""

    id: RequestId
    channel: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop receiving a channel."""

    id: RequestId
    channel: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Send ``data`` to everyone who receives the channel."""

    id: RequestId
    channel: str
    data: object


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a pong."""

    id: RequestId


Request: TypeAlias = Subscribe | Unsubscribe | Publish | Ping


def parse(raw: str | bytes) -> Request:
    """Understand one client message.

    Raises:
        Rejected: if it is not JSON (``bad_json``) or not a known message (``bad_message``).
    """
    if isinstance(raw, bytes):
        raise Rejected("bad_message", "send text frames, not binary ones")
    fields = _object(raw)
    request_id = _request_id(fields.get("id"))
    try:
        return _request(fields, request_id)
    except ValueError as error:
        raise Rejected("bad_message", str(error), request_id) from error


def _request(fields: dict[str, object], request_id: RequestId) -> Request:
    match fields.get("type"):
        case "subscribe":
            return Subscribe(request_id, _channel(fields))
        case "unsubscribe":
            return Unsubscribe(request_id, _channel(fields))
        case "publish":
            return Publish(request_id, _channel(fields), _data(fields))
        case "ping":
            return Ping(request_id)
        case _:
            raise ValueError("type must be one of subscribe, unsubscribe, publish, ping")


def parse_notification(payload: bytes) -> tuple[str, object]:
    """The channel and data of one Postgres notification.

    Raises:
        ValueError: if the payload is not ``{"channel": …, "data": …}``.
    """
    try:
        fields = _object(payload.decode())
    except Rejected as error:
        raise ValueError(error.message) from error
    return _channel(fields), _data(fields)


def message(channel: str, data: object, source: Source) -> bytes:
    """The frame that subscribers receive.

    Raises:
        ValueError: if ``data`` holds what JSON text cannot carry: infinity, or half of a surrogate pair.
    """
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        return frame("message", channel=channel, data=data, source=source, at=at)
    except UnicodeEncodeError as error:
        raise ValueError("data holds half of a surrogate pair") from error
    except ValueError as error:
        raise ValueError("data holds a number that is out of range") from error
    except RecursionError as error:
        raise ValueError("data is nested too deeply") from error


def is_message_for(channel: str, payload: bytes) -> bool:
    """Whether this payload, received through Redis, was made by ``message`` for this channel.

    It compares the beginning only: this is against a stray ``PUBLISH`` by another program, and the frame is passed
    on as it is, without the cost of parsing it once more in each replica.
    """
    return payload.startswith(frame("message", channel=channel)[:-1] + b",")


def frame(kind: str, **fields: object) -> bytes:
    """One server message, ready to be sent."""
    document = {"type": kind, **fields}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def reply(kind: str, request: Request, **fields: object) -> bytes:
    """The answer to one request, with its channel and, if it had one, its id."""
    channel = {} if isinstance(request, Ping) else {"channel": request.channel}
    return frame(kind, **channel, **_id(request.id), **fields)


def error(rejected: Rejected) -> bytes:
    """The answer to a request that was not carried out."""
    return frame(
        "error",
        code=rejected.code,
        message=rejected.message,
        **_id(rejected.request_id),
        retryable=rejected.retryable,
    )


def _id(request_id: RequestId) -> dict[str, RequestId]:
    return {} if request_id is None else {"id": request_id}


def _object(text: str) -> dict[str, object]:
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Rejected("bad_json", "not valid JSON") from error
    if not isinstance(document, dict):
        raise Rejected("bad_message", "not a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity; JSON has neither, and browsers fail on them.
    raise ValueError(name)


def _request_id(value: object) -> RequestId:
    if isinstance(value, str) and len(value) <= MAX_NAME_LENGTH and value.isprintable():
        return value
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Rejected("bad_message", f"id must be an integer or up to {MAX_NAME_LENGTH} printable characters")


def _channel(fields: dict[str, object]) -> str:
    channel = fields.get("channel")
    # Printable also means: without halves of surrogate pairs, which could not be sent to Redis.
    if isinstance(channel, str) and 0 < len(channel) <= MAX_NAME_LENGTH and channel.isprintable():
        return channel
    raise ValueError(f"channel must be 1 to {MAX_NAME_LENGTH} printable characters")


def _data(fields: dict[str, object]) -> object:
    if "data" not in fields:
        raise ValueError("data is missing")
    return fields["data"]
