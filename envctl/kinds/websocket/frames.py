"""WebSocket frames (RFC 6455, section 5), as much of them as a ping needs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from envctl.ready.stream import Garbled, Stream

CLOSE, PING, PONG = 0x8, 0x9, 0xA

_KNOWN = {0x0, 0x1, 0x2, CLOSE, PING, PONG}
_MOST_BYTES = 1024 * 1024  # what a server may push before it answers a ping


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the server."""

    opcode: int
    payload: bytes


def control(opcode: int, payload: bytes) -> bytes:
    """A control frame from the client, which must be masked. The payload has at most 125 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked


def receive(stream: Stream) -> Frame:
    """The server's next frame. A fragment of a message is a frame like any other here. Raises Garbled."""
    first, second = stream.exactly(2)
    opcode, size = first & 0x0F, second & 0x7F
    if first & 0x70 or opcode not in _KNOWN or second & 0x80:
        raise Garbled(f"a WebSocket frame from a server cannot begin with {bytes((first, second)).hex()}")
    if opcode >= CLOSE and (size > 125 or not first & 0x80):
        raise Garbled("a WebSocket control frame that is fragmented or too long")
    if size == 126:
        size = int.from_bytes(stream.exactly(2), "big")
    elif size == 127:
        size = int.from_bytes(stream.exactly(8), "big")
    if size > _MOST_BYTES:
        raise Garbled(f"a WebSocket frame of {size} bytes before the answer to a ping")
    return Frame(opcode, stream.exactly(size))


def closing(payload: bytes) -> str:
    """What a Close frame says, for people."""
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    reason = payload[2:].decode("utf-8", "replace")
    return f"{code} {reason}".strip()
