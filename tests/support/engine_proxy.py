"""Makes an engine's Unix socket reachable by TCP, so that it looks like a remote one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class EngineProxy:
    """Forwards each connection to a Unix socket; leaving the context ends it.

    Args:
        host: Address to listen on.
        path: The engine's socket.
    """

    def __init__(self, host: str, path: str = "/var/run/docker.sock") -> None:
        self._path = path
        self._server = socket.create_server((host, 0))
        self.address = "tcp://{}:{}".format(*self._server.getsockname()[:2])
        self._links: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._path)
            self._links += [client, engine]
            threading.Thread(target=self._serve, args=(client, engine), daemon=True).start()

    @staticmethod
    def _serve(client: socket.socket, engine: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(engine, client), daemon=True)
        back.start()
        _copy(client, engine)
        back.join()
        client.close()
        engine.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
