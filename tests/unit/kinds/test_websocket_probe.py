"""The WebSocket handshake against real servers, the bundled one among them, and against servers that only pretend."""

from __future__ import annotations

import base64
import hashlib
import http
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import LocalServer, closed_port, drip, free_port, hang_up, say, silent
from real_servers import PASSWORD, eventually
from websockets.sync.server import ServerConnection, serve

from envctl.kinds.websocket.probe import attempt
from envctl.model import Connection, Verdict

BUNDLED = Path(__file__).parents[3] / "compose" / "websocket"


def connection(port: int, path: str = "/ws", token: str | None = None) -> Connection:
    query = f"?token={token}" if token else ""
    url = f"ws://127.0.0.1:{port}{path}{query}"
    return Connection("websocket", "websocket", "127.0.0.1", port, url, password=token, path=path)


@contextmanager
def users_server(handler: Callable[[ServerConnection], None], **options: object) -> Iterator[int]:
    with serve(handler, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]  # a test gives what it likes
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(5)


def listen(link: ServerConnection) -> None:
    for _ in link:
        pass


def test_ready() -> None:
    """A server that upgrades and answers a ping is ready, and sees an orderly end."""
    codes = []

    def note_the_end(link: ServerConnection) -> None:
        listen(link)
        codes.append(link.close_code)

    with users_server(note_the_end) as port:
        answer = attempt(connection(port), 1.0)
        eventually(lambda: codes)

    assert answer.verdict is Verdict.READY
    assert codes == [1000]


def test_ready_when_the_server_speaks_first() -> None:
    """Greetings, fragments and pings that come before the pong are passed over."""

    def greet(link: ServerConnection) -> None:
        link.send("hello")
        link.send(b"x" * 70_000)
        link.send(iter(["in ", "three ", "fragments"]))
        link.ping(b"are you there")
        listen(link)

    with users_server(greet) as port:
        assert attempt(connection(port), 1.0).verdict is Verdict.READY


def test_closed_by_the_server() -> None:
    """A server that upgrades only to close says why, and is not ready."""
    # Raw bytes, because the library may answer the ping before the handler closes.
    with LocalServer(upgrade_then(b"\x88\x0d" + (4401).to_bytes(2, "big") + b"who are you")) as server:
        answer = attempt(connection(server.port), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert "4401 who are you" in answer.detail


@pytest.mark.parametrize("status", [401, 403, 404, 426, 500, 503])
def test_refused_upgrade(status: int) -> None:
    """A status instead of an upgrade is told."""
    page = {"process_request": lambda link, _: link.respond(http.HTTPStatus(status), "no\n")}
    with users_server(listen, **page) as port:
        answer = attempt(connection(port), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert f"answered {status} to the upgrade" in answer.detail


def test_users_server_is_not_asked_for_readyz() -> None:
    """Only the bundled server has /readyz; a user's own server is judged by the WebSocket alone."""
    paths = []

    def note(_: ServerConnection, request: object) -> None:
        paths.append(request.path)  # type: ignore[attr-defined]  # its type says less than it has

    with users_server(listen, process_request=note) as port:
        attempt(connection(port, "/live"), 1.0)

    assert paths == ["/live"]


# -- the bundled server --------------------------------------------------------------------------------------------


@contextmanager
def bundled_server(**settings_: str) -> Iterator[int]:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(BUNDLED),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOST": "127.0.0.1",
    }
    environ |= {"PORT": str(port), "WS_TOKEN": PASSWORD} | settings_
    process = subprocess.Popen(
        [sys.executable, "-m", "wsserver"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait(10)


def test_bundled_server_is_ready_with_its_chain() -> None:
    """The bundled server with nothing behind it is ready; its token is checked too."""
    with bundled_server() as port:
        eventually(lambda: attempt(connection(port, token=PASSWORD), 1.0).verdict is Verdict.READY)
        wrong = attempt(connection(port, token="wrong"), 1.0)

    assert wrong.verdict is Verdict.NOT_YET
    assert "answered 401" in wrong.detail


def test_bundled_server_waits_for_its_chain() -> None:
    """While a dependency is missing the answer names it."""
    with bundled_server(REDIS_HOST="127.0.0.1", REDIS_PORT=str(closed_port())) as port:
        eventually(lambda: "waiting for" in attempt(connection(port, token=PASSWORD), 1.0).detail)
        answer = attempt(connection(port, token=PASSWORD), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert answer.detail.startswith("answers; waiting for redis: connecting")


# -- servers that only pretend -------------------------------------------------------------------------------------


def upgrade_then(frames: bytes, *, key: bytes | None = None) -> Callable[[socket.socket, int], None]:
    """Upgrades like a WebSocket server and then sends `frames`, whatever the client says."""

    def handler(link: socket.socket, _: int) -> None:
        request = link.recv(65536)
        asked = key or request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = hashlib.sha1(asked + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        accept = base64.b64encode(digest)
        head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nSEC-WEBSOCKET-ACCEPT: "
        link.sendall(head + accept + b"\r\n\r\n" + frames)
        while link.recv(65536):
            pass

    return handler


@pytest.mark.parametrize(
    ("handler", "detail"),
    [
        (hang_up, "closed the connection"),
        (silent(), "does not answer in time"),
        (drip(b"HTTP/1.1 101 x", 0.005), "does not answer in time"),
        (say(b"-ERR unknown command\r\n"), "cannot begin with"),
        (say(b"HTTP/1.1\r\n\r\n"), "without a status"),
        (say(b"HTTP/1.1 1\xb2\xb2 x\r\n\r\n"), "without a status"),
        (say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000), "no end of a line or header"),
        (say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "wrong Sec-WebSocket-Accept"),
        (upgrade_then(b"", key=b"another"), "wrong Sec-WebSocket-Accept"),
        (upgrade_then(b""), "does not answer in time"),
        (upgrade_then(b"\x8a\x04fake"), "does not answer in time"),
        (upgrade_then(b"\x82\x7f" + b"\xff" * 8), "before the answer to a ping"),
        (upgrade_then(b"\x8a\x84maskfake"), "cannot begin with"),
        (upgrade_then(b"\x0a\x00"), "fragmented"),
        (upgrade_then(b"\x88\x00"), "1005"),
    ],
)
def test_a_server_that_pretends(handler: Callable[[socket.socket, int], None], detail: str) -> None:
    """Whatever a wrong server does, the answer is "not yet", says what was seen and comes within the limit."""
    with LocalServer(handler) as server:
        started = time.monotonic()
        answer = attempt(connection(server.port), 0.3)
        took = time.monotonic() - started

    assert answer.verdict is Verdict.NOT_YET
    assert detail in answer.detail
    assert took < 1.0


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b'{"dependencies": []}', b'{"dependencies": {"redis": 1}}', b"[" * 50_000],
)
def test_readyz_that_is_not_understood(body: bytes) -> None:
    """A 503 with any body at all is still told as a 503."""
    with LocalServer(say(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + body)) as server:
        answer = attempt(connection(server.port, token="t"), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert answer.detail == "answered 503 to GET /readyz"


@pytest.fixture(scope="module")
def parrot() -> Iterator[tuple[LocalServer, list[bytes]]]:
    script = [b""]

    def repeat(link: socket.socket, number: int) -> None:
        upgrade_then(script[0])(link, number)

    with LocalServer(repeat) as server:
        yield server, script


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_frames(parrot: tuple[LocalServer, list[bytes]], data: bytes) -> None:
    """No sequence of bytes after the upgrade makes the probe raise, hang or believe."""
    server, script = parrot
    script[0] = data
    started = time.monotonic()

    answer = attempt(connection(server.port), 0.02)

    assert answer.verdict is Verdict.NOT_YET
    assert time.monotonic() - started < 1.0
