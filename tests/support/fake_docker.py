"""A Docker engine's version, images and registry, as a test says they are, with the programs that belong to it.

For what no real engine can be brought to: another version, silence, a registry that refuses. Speaks HTTP/1.0 on a
socket of its own.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

PRESENT = (200, {"Id": "sha256:1"})
ABSENT = (404, {"message": "No such image"})
NO_NETWORK = (500, {"message": 'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host'})
DENIED = (401, {"message": "unauthorized: incorrect username or password"})


@dataclass
class FakeDocker:
    """The engine; leaving the context ends it.

    Attributes:
        version: What it says it is.
        compose: What the plugin says it is.
        images: Image → answer to the question whether it is there; PRESENT where nothing is said.
        registry: Image → answer to the question whether it can be had; NO_NETWORK where nothing is said.
        others: Path → answer to any other question: "/containers/3f2a…/json"; 404 where nothing is said.
        delay_s: How long it thinks before each answer.
        asked: The paths of all requests.
    """

    version: str = "26.1.5"
    compose: str = "2.29.1"
    images: dict[str, tuple[int, object]] = field(default_factory=dict)
    registry: dict[str, tuple[int, object]] = field(default_factory=dict)
    others: dict[str, object] = field(default_factory=dict)
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="fake-docker-")  # a socket's path must be short
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "docker.sock"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.socket))
        self._server.listen(64)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        self.program("bin/docker", "exit 1")
        self.program("config/cli-plugins/docker-compose", f"echo {self.compose}")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(timeout=5)
        self._folder.cleanup()

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead to it and to nothing else."""
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_HOST": f"unix://{self.socket}",
            "ENVCTL_STATE_DIR": str(self.folder / "state"),
        }

    def program(self, name: str, script: str) -> None:
        """Write a program into its folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request and (part := client.recv(4096)):
                request += part
            path = request.split(b" ")[1].decode()
            self.asked.append(path)
            if self._ended.wait(self.delay_s):
                return
            status, answer = self._answer(path)
            body = json.dumps(answer).encode()
            client.sendall(b"HTTP/1.0 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def _answer(self, path: str) -> tuple[int, object]:
        image = path.removeprefix("/images/").removeprefix("/distribution/").removesuffix("/json")
        if path == "/version":
            return 200, {"Version": self.version}
        if path.startswith("/images/"):
            return self.images.get(image, PRESENT)
        if path.startswith("/distribution/"):
            return self.registry.get(image, NO_NETWORK)
        return (200, self.others[path]) if path in self.others else (404, {"message": "No such thing"})
