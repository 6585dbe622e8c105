"""One try of the WebSocket handshake: the upgrade, then a ping whose pong must carry the same bytes.

The bundled server is asked first whether its whole chain is ready (`/readyz`: Postgres and Redis behind it too).
"""

from __future__ import annotations

import os
from base64 import b64encode
from functools import partial
from urllib.parse import urlsplit

from envctl.kinds.websocket import frames
from envctl.model import Attempt, Connection, Verdict
from envctl.ready.answers import not_yet, ready
from envctl.ready.http import request
from envctl.ready.stream import Garbled, Stream, bounded, talk

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_MOST_JSON_BYTES = 64 * 1024
_NORMAL_CLOSURE = (1000).to_bytes(2, "big")
_AT_REST = {"connected", "not_configured"}  # what the bundled server calls a dependency that holds nothing up
_HINT = {
    400: "bad request",
    401: "it wants credentials: use kind generic with a `ready` of its own",
    403: "forbidden",
    404: "no WebSocket at this path: set `path`",
    426: "it wants another protocol version",
    503: "service unavailable",
}


def attempt(connection: Connection, limit_s: float) -> Attempt:
    """Upgrade, ping and pong within `limit_s` seconds; of the bundled server, `/readyz` first."""
    return bounded(limit_s, lambda deadline_s: _try(connection, deadline_s))


def _try(connection: Connection, deadline_s: float) -> Attempt:
    bundled = connection.password and "token=" in urlsplit(connection.url).query
    answer = not_yet("")
    for step in (_chain, _upgrade) if bundled else (_upgrade,):
        # Each in a connection of its own: a server may close after an ordinary answer.
        answer = talk(connection.host, connection.port or 0, deadline_s, partial(step, connection))
        if answer.verdict is not Verdict.READY:
            break
    return answer


def _chain(connection: Connection, stream: Stream) -> Attempt:
    headers = {"Accept": "application/json", "Connection": "close"}
    status, _ = request(stream, connection.host, connection.port or 0, "/readyz", headers)
    if status == 200:
        return ready("answered 200 to GET /readyz")
    waiting = _waiting(stream.rest(_MOST_JSON_BYTES)) if status == 503 else ""
    return not_yet(f"answers; waiting for {waiting}" if waiting else f"answered {status} to GET /readyz")


def _waiting(body: bytes) -> str:
    """The dependencies the bundled server waits for: "postgres: connecting (connection refused)"."""
    import json

    try:
        dependencies = json.loads(body)["dependencies"]
        states = {name: (link["state"], link.get("last_error")) for name, link in dependencies.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return ", ".join(
        f"{name}: {state}" + (f" ({error})" if error else "")
        for name, (state, error) in states.items()
        if state not in _AT_REST
    )


def _upgrade(connection: Connection, stream: Stream) -> Attempt:
    url = urlsplit(connection.url)
    target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
    key = b64encode(os.urandom(16))
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key.decode(),
    }
    status, answered = request(stream, connection.host, connection.port or 0, target, headers)
    if status != 101:
        return not_yet(f"answered {status} to the upgrade" + (f": {_HINT[status]}" if status in _HINT else ""))
    if answered.get("sec-websocket-accept") != _accept(key):
        raise Garbled("the upgrade was accepted with a wrong Sec-WebSocket-Accept")
    return _ping(stream)


def _ping(stream: Stream) -> Attempt:
    payload = os.urandom(8)
    stream.send(frames.control(frames.PING, payload))
    while True:
        frame = frames.receive(stream)
        if frame.opcode == frames.PONG and frame.payload == payload:
            stream.say_goodbye(frames.control(frames.CLOSE, _NORMAL_CLOSURE))
            return ready("upgraded and answered a ping")
        if frame.opcode == frames.CLOSE:
            return not_yet(f"closed the WebSocket at once: {frames.closing(frame.payload)}")


def _accept(key: bytes) -> str:
    from hashlib import sha1

    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode()
