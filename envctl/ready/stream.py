"""One TCP conversation with one deadline for all of it: the connection, every send and every receive."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType

from envctl.model import Attempt
from envctl.ready.answers import not_yet

_CHUNK = 16 * 1024


class Garbled(ValueError):
    """What came in is not the protocol that was expected; the message says what was seen, in one line."""


class Closed(ConnectionError):
    """The peer closed the connection in the middle of the conversation."""


class Stream:
    """A connection on which nothing takes longer than what is left until the deadline.

    A limit for each receive would not do: a server that drips one byte at a time would never reach it.

    Args:
        host: Address or name. A name is resolved by the system, which the deadline does not bound.
        port: TCP port.
        deadline_s: When everything must be over, on the monotonic clock, seconds.

    Raises:
        OSError: The connection was refused, reset, or (TimeoutError) not made in time.
    """

    def __init__(self, host: str, port: int, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._buffer = bytearray()
        self._socket = self._connect(host, port)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def left_s(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when there are none."""
        left = self._deadline_s - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def grant(self, span_s: float) -> None:
        """Move the deadline to `span_s` seconds from now: what comes next is another conversation."""
        self._deadline_s = monotonic() + span_s

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.settimeout(self.left_s())
        self._socket.sendall(data)

    def say_goodbye(self, data: bytes) -> None:
        """Send a last word. What was proven stays proven if it cannot be delivered."""
        with suppress(OSError):
            self.send(data)

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._buffer) < size:
            self._fill()
        return self._take(size)

    def until(self, mark: bytes, limit: int) -> bytes:
        """Everything up to and with `mark`. Raises Garbled when it is not among the next `limit` bytes."""
        searched = 0
        while (found := self._buffer.find(mark, searched)) < 0:
            if len(self._buffer) >= limit:
                raise Garbled(f"no end of a line or header within {limit} bytes")
            searched = max(0, len(self._buffer) - len(mark) + 1)
            self._fill()
        return self._take(found + len(mark))

    def rest(self, limit: int) -> bytes:
        """Everything until the peer closes, but at most `limit` bytes."""
        with suppress(Closed):
            while len(self._buffer) < limit:
                self._fill()
        return self._take(min(limit, len(self._buffer)))

    def has_input(self) -> bool:
        """Whether something has come that was not taken yet, or the peer has closed; does not wait."""
        if self._buffer:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def open_for(self, span_s: float) -> bool:
        """Whether the peer keeps the connection open for `span_s` seconds, or says something meanwhile."""
        if self._buffer:
            return True
        self._socket.settimeout(min(span_s, self.left_s()))
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return True

    def _fill(self) -> None:
        self._socket.settimeout(self.left_s())
        chunk = self._socket.recv(_CHUNK)
        if not chunk:
            raise Closed
        self._buffer += chunk

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _connect(self, host: str, port: int) -> socket.socket:
        refusal: OSError | None = None
        for family, address in _addresses(host, port):
            link = socket.socket(family, socket.SOCK_STREAM)
            try:
                link.settimeout(self.left_s())
                link.connect(address)
                if link.getsockname() == link.getpeername():
                    # A client on the same machine whose own port the kernel chose to be the wanted one reaches
                    # itself, though nobody listens. Closing it also frees the port for the service.
                    raise ConnectionRefusedError
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                link.close()
                refusal = error
            else:
                return link
        raise refusal or ConnectionRefusedError


def converse(host: str, port: int, limit_s: float, conversation: Callable[[Stream], Attempt]) -> Attempt:
    """One try of `conversation` over one connection.

    Whatever goes wrong with the connection or the protocol becomes an answer "not yet" that says so.
    """
    return bounded(limit_s, lambda deadline_s: talk(host, port, deadline_s, conversation))


def talk(host: str, port: int, deadline_s: float, conversation: Callable[[Stream], Attempt]) -> Attempt:
    """Open a connection and hold `conversation` over it. Raises what Stream and the conversation raise."""
    with Stream(host, port, deadline_s) as stream:
        try:
            return conversation(stream)
        except TimeoutError:
            return not_yet("accepts the connection but does not answer in time")


def bounded(limit_s: float, work: Callable[[float], Attempt]) -> Attempt:
    """One try of `work`, which is given its deadline on the monotonic clock. Never raises for what a peer does."""
    try:
        return work(monotonic() + limit_s)
    except TimeoutError:
        return not_yet(f"no connection within {limit_s * 1000:.0f} ms")
    except ConnectionRefusedError:
        return not_yet("connection refused")
    except Closed:
        return not_yet("closed the connection without an answer")
    except ConnectionError:
        return not_yet("connection reset")
    except OSError as error:
        return not_yet(f"cannot connect: {error.strerror or error}")
    except ValueError as error:
        return not_yet(f"answers in another protocol: {error}" if isinstance(error, Garbled) else "garbled answer")


def _addresses(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    # Numeric addresses do without getaddrinfo, which would import the IDNA tables first.
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, (str(address[0]), port)) for family, _, _, _, address in found]
