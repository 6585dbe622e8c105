"""A TCP server inside the test's process that does exactly what a test says."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Handler = Callable[[socket.socket, int], None]
"""Given a connection and its number, counted from 0. The connection is closed when it returns."""


class LocalServer:
    """Serves each connection in a thread; leaving the context ends them all.

    Args:
        handler: What to do with a connection.
        listening: False reserves the port only; `listen` then makes the server reachable at an instant the test knows.
    """

    def __init__(self, handler: Handler, *, listening: bool = True) -> None:
        self._handler = handler
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.accepted = 0
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._open = True
        if listening:
            self.listen()

    def listen(self) -> None:
        """Become reachable."""
        self._socket.listen(128)
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        for link in [self._socket, *self._links]:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while self._open:
                link, _ = self._socket.accept()
                self._links.append(link)
                self._start(self._serve, link, self.accepted)
                self.accepted += 1

    def _serve(self, link: socket.socket, number: int) -> None:
        with suppress(OSError, LookupError):  # a client that left early sends nothing to answer
            self._handler(link, number)
        with suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        link.close()


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    return free_port()


def free_port() -> int:
    """A port a server can be started on: outside the range from which the kernel gives ports to clients."""
    while True:
        port = random.randrange(12_000, 18_000)
        with socket.socket() as guard, suppress(OSError):
            guard.bind(("127.0.0.1", port))
            return port


def say(data: bytes) -> Handler:
    """Answers the first bytes that come in with `data`, and says nothing more."""

    def handler(link: socket.socket, _: int) -> None:
        link.recv(65536)
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        while link.recv(65536):  # closing with unread input would reset the connection instead
            pass

    return handler


def silent() -> Handler:
    """Reads and never answers."""

    def handler(link: socket.socket, _: int) -> None:
        while link.recv(65536):
            pass

    return handler


def hang_up(link: socket.socket, _: int) -> None:
    """Closes at once."""


def drip(data: bytes, every_s: float) -> Handler:
    """Sends `data` one byte at a time, for ever."""

    def handler(link: socket.socket, _: int) -> None:
        pause = threading.Event()
        while True:
            for byte in data:
                link.sendall(bytes((byte,)))
                pause.wait(every_s)

    return handler
