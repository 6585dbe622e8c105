"""The Redis handshake against a real Valkey, and against servers that only pretend."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import LocalServer, closed_port, drip, hang_up, say, silent
from real_servers import PASSWORD, eventually, running_valkey

from envctl.kinds.redis.probe import attempt
from envctl.model import Connection, Verdict
from envctl.ready.answers import PASSWORD_REFUSED


def connection(port: int, *, password: str | None = PASSWORD, database: str = "0") -> Connection:
    return Connection("cache", "redis", "127.0.0.1", port, "redis://", password=password, database=database)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_valkey(tmp_path_factory.mktemp("valkey"), "--requirepass", PASSWORD, "--databases", "4") as port:
        eventually(lambda: attempt(connection(port), 1.0).verdict is Verdict.READY)
        yield port


def test_ready(port: int) -> None:
    """AUTH, PING and loading:0 make it ready."""
    answer = attempt(connection(port), 1.0)

    assert answer.verdict is Verdict.READY
    assert "loading:0" in answer.detail


def test_ready_without_a_password(tmp_path: Path) -> None:
    """A connection without a password is not asked to authenticate."""
    with running_valkey(tmp_path) as open_port:
        eventually(lambda: attempt(connection(open_port, password=None), 1.0).verdict is Verdict.READY)


def test_wrong_password(port: int) -> None:
    """A refused password is told as such."""
    answer = attempt(connection(port, password="wrong"), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert answer.detail.startswith(PASSWORD_REFUSED)


def test_password_missing(port: int) -> None:
    """A server that asks for a password this environment does not have is not ready."""
    assert "asks for a password" in attempt(connection(port, password=None), 1.0).detail


def test_a_server_without_a_password_is_not_ours(tmp_path: Path) -> None:
    """A stray server that lets everyone in proves nothing, so it is never taken for ready."""
    with running_valkey(tmp_path) as open_port:
        eventually(lambda: "refused" not in attempt(connection(open_port), 1.0).detail)
        answer = attempt(connection(open_port), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert "not this environment's server" in answer.detail


def test_the_urls_database_must_exist(port: int) -> None:
    """The database number that is handed out can be selected, or the service is not ready."""
    assert attempt(connection(port, database="3"), 1.0).verdict is Verdict.READY
    assert "refuses SELECT" in attempt(connection(port, database="9"), 1.0).detail


def test_loading(tmp_path: Path) -> None:
    """A server that still reads its data from disk is not ready; slowed down by a debugging setting."""
    import redis

    with running_valkey(tmp_path) as first:
        eventually(lambda: attempt(connection(first, password=None), 1.0).verdict is Verdict.READY)
        client = redis.Redis(port=first)
        client.mset({f"key{i}": "x" * 1000 for i in range(300)})
        client.save()
        client.close()
    # 300 keys at 1.5 ms each, with a look at clients every kilobyte.
    slow = ["--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"]
    details = set()
    with running_valkey(tmp_path, *slow, "--requirepass", PASSWORD) as second:

        def loaded() -> bool:
            answer = attempt(connection(second), 1.0)
            details.add(answer.detail)
            return answer.verdict is Verdict.READY

        eventually(loaded, pause_s=0.005)

    assert "loads its data" in details


@pytest.mark.parametrize(
    ("handler", "detail"),
    [
        (hang_up, "closed the connection"),
        (silent(), "does not answer in time"),
        (drip(b"+OK", 0.005), "does not answer in time"),
        (say(b"+" + b"x" * 1_000_000), "no end of a line"),
        (say(b"$99999999999\r\n"), "cannot have the length"),
        (say(b"$-1\r\n"), "cannot have the length"),
        (say(b"HTTP/1.1 400 Bad Request\r\n"), "cannot begin with"),
        (say(b"+OK\r\n+PANG\r\n$9\r\nloading:0\r\n"), "else than PONG"),
        (say(b"+OK\r\n+PONG\r\n$9\r\nloading:1\r\n"), "loads its data"),
        (say(b"+OK\r\n+PONG\r\n$2\r\nhi\r\n"), "does not say"),
        (say(b"+OK\r\n-LOADING Redis is loading\r\n"), "loads its data"),
        (say(b"+OK\r\n-MASTERDOWN Link with MASTER is down\r\n"), "master does not answer"),
        (say(b"-DENIED Redis is running in protected mode\r\n"), "protected mode"),
        (say(b"-ERR max number of clients reached\r\n"), "max number of clients"),
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


def test_nobody_there() -> None:
    """A closed port is answered at once."""
    assert attempt(connection(closed_port()), 1.0).detail == "connection refused"


@pytest.fixture(scope="module")
def parrot() -> Iterator[tuple[LocalServer, list[bytes]]]:
    script = [b""]
    with LocalServer(lambda link, number: say(script[0])(link, number)) as server:
        yield server, script


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [b"+OK\r\n", b"+PONG\r\n", b"$0\r\n\r\n", b"$5\r\n", b"-ERR\r\n", b"\r\n", b":1\r\n", b"\xff"]
            ),
            max_size=10,
        ).map(b"".join),
    )
)
def test_any_bytes(parrot: tuple[LocalServer, list[bytes]], data: bytes) -> None:
    """No sequence of bytes makes the probe raise, hang or believe."""
    server, script = parrot
    script[0] = data
    started = time.monotonic()

    answer = attempt(connection(server.port), 0.3)

    assert answer.verdict is Verdict.NOT_YET
    assert time.monotonic() - started < 1.5
