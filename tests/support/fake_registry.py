"""An image registry of 127.0.0.1 that answers exactly what a test says. Docker speaks plain HTTP with such an address.

Speaks what a pull needs of the OCI distribution specification, version 2: `/v2/`, manifests and blobs.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class FakeRegistry:
    """A registry; leaving the context ends it.

    Attributes:
        calls: Every request for a manifest or blob, as "GET /v2/tiny/manifests/1".
        failures: Repository → the status codes of its next answers for manifests; when they are used up it works.
            The last one goes on for ever where `forever` names the repository.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, list[int]] = {}
        self.forever: set[str] = set()
        self._manifests: dict[str, tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        registry = self

        class Handler(_Handler):
            pass

        Handler.registry = registry
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        """Host and port, as in an image reference."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self,
        repository: str,
        layer: bytes,
        *,
        architecture: str | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> str:
        """Hold an image of one layer (a tar), tag `1`; its reference.

        Args:
            repository: Its name.
            layer: Its file system, as a tar archive.
            architecture: Where given, the tag names a list that has only this architecture.
            settings: How containers of it are run; `sleep` where not given.
        """
        packed = gzip.compress(layer, compresslevel=1, mtime=0)
        config = {
            "architecture": architecture or _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": settings or {"Cmd": ["/bin/sleep", "600"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._hold(_CONFIG, json.dumps(config).encode()),
            "layers": [self._hold(_LAYER, packed)],
        }
        self._name(repository, _MANIFEST, manifest)
        if architecture:
            content = self._manifests[f"{repository}/1"][1]
            entry = {"mediaType": _MANIFEST, "digest": _digest(content), "size": len(content)}
            entry |= {"platform": {"architecture": architecture, "os": "linux"}}
            self._name(repository, _LIST, {"schemaVersion": 2, "mediaType": _LIST, "manifests": [entry]})
        return f"{self.address}/{repository}:1"

    def _hold(self, media_type: str, content: bytes) -> dict[str, object]:
        self._blobs[_digest(content)] = content
        return {"mediaType": media_type, "size": len(content), "digest": _digest(content)}

    def _name(self, repository: str, media_type: str, content: Mapping[str, object]) -> None:
        raw = json.dumps(content).encode()
        for reference in ("1", _digest(raw)):
            self._manifests[f"{repository}/{reference}"] = (media_type, raw)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path below /v2/."""
        repository, kind, reference = path.rsplit("/", 2)
        if kind == "manifests":
            if status := self._failure(repository):
                return _error(status)
            found = self._manifests.get(f"{repository}/{reference}")
            if found is None:
                return _error(404)
            return 200, {"Content-Type": found[0], "Docker-Content-Digest": _digest(found[1])}, found[1]
        blob = self._blobs.get(reference)
        return _error(404) if blob is None else (200, {"Content-Type": "application/octet-stream"}, blob)

    def _failure(self, repository: str) -> int | None:
        waiting = self.failures.get(repository, [])
        if not waiting:
            return None
        return waiting[0] if repository in self.forever and len(waiting) == 1 else waiting.pop(0)


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def _serve(self, *, with_body: bool) -> None:
        path = self.path.removeprefix("/v2/")
        status, headers, body = (200, {}, b"{}") if not path else self.registry.answer(path)
        if path:
            self.registry.calls.append(f"{self.command} {self.path}")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""


_ERRORS = {401: "UNAUTHORIZED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS", 500: "UNKNOWN"}


def _error(status: int) -> tuple[int, dict[str, str], bytes]:
    body = {"errors": [{"code": _ERRORS.get(status, "UNKNOWN"), "message": _ERRORS.get(status, "unknown").lower()}]}
    headers = {"Content-Type": "application/json"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="fake"'
    return status, headers, json.dumps(body).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_system(image: str) -> bytes:
    """That of an image which the engine has, as a tar."""
    name = subprocess.run(["docker", "create", image], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return subprocess.run(["docker", "export", name], capture_output=True, check=True).stdout
    finally:
        subprocess.run(["docker", "rm", "--volumes", name], capture_output=True, check=True)


def settings(image: str) -> dict[str, object]:
    """How containers of an image are run that the engine has."""
    shown = ["docker", "image", "inspect", "--format", "{{json .Config}}", image]
    found: dict[str, object] = json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)
    return found


def with_file(archive: bytes, name: str, content: bytes) -> bytes:
    """A tar archive with one more file, so that the image is another one each time."""
    buffer = io.BytesIO(archive)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
