"""The check of a user's `ready: {tcp: …}`, and what a generic service with a port gets by default."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import monotonic

from envctl.model import Attempt
from envctl.ready.answers import not_yet, ready
from envctl.ready.base import SOCKETS, Pace
from envctl.ready.stream import Closed, Garbled, Stream, converse

# docker-proxy accepts on behalf of a service that does not listen yet and closes when it is refused inside. That takes
# a millisecond or two, but on a loaded machine many more; so what counts as staying open follows from how long the
# closes of this service took so far.
_OPEN_FOR_S = 0.06
_OPEN_FOR_AT_FIRST_S = 0.2
_TIMES_THE_SLOWEST_CLOSE = 5

_PACE = replace(SOCKETS, short_limit_s=0.4)  # time enough to see a connection stay open

_MOST_BYTES = 64 * 1024


@dataclass(slots=True)
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
    pace: Pace = _PACE
    _slowest_close_s: float | None = field(default=None, init=False)

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
        began_s, span_s = monotonic(), self._open_for_s()
        if stream.left_s() < span_s:
            return not_yet("accepts the connection; there was no time to see it stay open")
        if stream.open_for(span_s):
            return ready("accepted a connection")
        self._slowest_close_s = max(self._slowest_close_s or 0.0, monotonic() - began_s)
        return not_yet("accepts the connection but closes it at once")

    def _open_for_s(self) -> float:
        if self._slowest_close_s is None:
            return _OPEN_FOR_AT_FIRST_S
        return max(_OPEN_FOR_S, self._slowest_close_s * _TIMES_THE_SLOWEST_CLOSE)

    def _listen(self, stream: Stream, expected: bytes) -> Attempt:
        try:
            stream.until(expected, _MOST_BYTES)
        except (Closed, Garbled):
            return not_yet(f"answered, but without {self.expect!r}")
        return ready(f"answered with {self.expect!r}")
