"""The check of a user's `ready: {tcp: …}`, and what a generic service with a port gets by default."""

from __future__ import annotations

from dataclasses import dataclass

from envctl.model import Attempt
from envctl.ready.answers import not_yet, ready
from envctl.ready.base import SOCKETS, Pace
from envctl.ready.stream import Closed, Garbled, Stream, converse

# docker-proxy accepts on behalf of a service that does not listen yet and closes when it is refused inside, which
# takes a millisecond or two.
_OPEN_FOR_S = 0.06

_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """A connection to a published port that is not closed at once, or a short conversation.

    Attributes:
        host: Address.
        port: Published port.
        send: What to say first, or None.
        expect: What must be among the answer, or None where staying open is enough.
    """

    host: str
    port: int
    send: str | None = None
    expect: str | None = None
    pace: Pace = SOCKETS

    def describe(self) -> str:
        """What is waited for."""
        where = f"on {self.host}:{self.port}"
        return f"accepts connections {where}" if self.expect is None else f"says {self.expect[:40]!r} {where}"

    def attempt(self, limit_s: float) -> Attempt:
        """One connection."""
        return converse(self.host, self.port, limit_s, self._talk)

    def _talk(self, stream: Stream) -> Attempt:
        if self.send is not None:
            stream.send(self.send.encode())
        if self.expect:
            return self._listen(stream, self.expect.encode())
        if stream.open_for(_OPEN_FOR_S):
            return ready("accepted a connection")
        return not_yet("accepts the connection but closes it at once")

    def _listen(self, stream: Stream, expected: bytes) -> Attempt:
        try:
            stream.until(expected, _MOST_BYTES)
        except (Closed, Garbled):
            return not_yet(f"answered, but without {self.expect!r}")
        return ready(f"answered with {self.expect!r}")
