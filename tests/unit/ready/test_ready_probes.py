"""The generic probes, and which probe a service gets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import Handler, LocalServer, closed_port, drip, hang_up, say, silent

from envctl import kinds
from envctl.errors import EngineFailed
from envctl.model import (
    Attempt,
    ExecReady,
    HttpReady,
    LogReady,
    PortSpec,
    Ready,
    ServiceSpec,
    TcpReady,
    Verdict,
)
from envctl.ready.exec import ExecProbe
from envctl.ready.factory import probe_for
from envctl.ready.handshake import Both
from envctl.ready.http import HttpProbe
from envctl.ready.log import LogProbe
from envctl.ready.stream import Stream
from envctl.ready.tcp import TcpProbe


class Engine:
    """An engine that answers what a test says: log and exec are an engine's to provoke, not a probe's."""

    def __init__(self, log: str = "", result: Callable[[], tuple[int, str]] = lambda: (0, "")) -> None:
        self._log, self._result = log, result
        self.asked: list[object] = []

    def logs(self, service: str) -> str:
        self.asked.append(service)
        return self._log

    def exec(self, service: str, argv: Sequence[str], limit_s: float) -> tuple[int, str]:
        self.asked.append((service, tuple(argv), limit_s))
        return self._result()


class BrokenEngine(Engine):
    def logs(self, service: str) -> str:
        raise EngineFailed("container is not running")


def attempt_on(handler: Handler, make: Callable[[int], object], limit_s: float = 0.3) -> tuple[Attempt, float]:
    with LocalServer(handler) as server:
        began = time.monotonic()
        answer = make(server.port).attempt(limit_s)  # type: ignore[attr-defined]  # its type says less than it has
        return answer, time.monotonic() - began


# -- TCP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "ready"),
    [(silent(), True), (lambda link, _: link.sendall(b"220 hi") or link.recv(9), True), (hang_up, False)],
)
def test_tcp_connection_must_stay_open(handler: Handler, *, ready: bool) -> None:
    """Accepting is not enough, because docker-proxy accepts for a service that is not there and closes."""
    answer, took = attempt_on(handler, lambda port: TcpProbe("127.0.0.1", port))

    assert (answer.verdict is Verdict.READY) is ready
    assert took < 0.5


@pytest.mark.parametrize(
    ("reply", "ready"), [(b"+PONG\r\n", True), (b"noise " * 50 + b"PONG", True), (b"+PANG\r\n", False), (b"", False)]
)
def test_tcp_conversation(reply: bytes, *, ready: bool) -> None:
    """With something to say and to expect, only the expected answer counts."""
    answer, _ = attempt_on(say(reply), lambda port: TcpProbe("127.0.0.1", port, "PING\r\n", "PONG"))

    assert (answer.verdict is Verdict.READY) is ready


def test_tcp_nobody_there() -> None:
    """A closed port is not ready."""
    assert TcpProbe("127.0.0.1", closed_port()).attempt(1.0).detail == "connection refused"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_names_and_addresses(host: str) -> None:
    """An engine on another machine may be known by a name."""
    answer, _ = attempt_on(silent(), lambda port: TcpProbe(host, port))

    assert answer.verdict is Verdict.READY


def test_a_name_that_does_not_exist() -> None:
    """A host that cannot be resolved is an answer, not an exception."""
    assert TcpProbe("nowhere.invalid", 1).attempt(1.0).verdict is Verdict.NOT_YET


def test_a_connection_to_oneself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose own port happens to be the wanted one reaches itself; that is nobody's service.

    The kernel's choice cannot be provoked, so the socket is bound to the port beforehand.
    """
    import socket

    port = closed_port()
    plain = socket.socket

    class Bound(plain):  # type: ignore[misc,valid-type]  # a class that came as a value
        def connect(self, address: object) -> None:
            self.bind(("127.0.0.1", port))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Bound)
    answer = TcpProbe("127.0.0.1", port).attempt(1.0)

    assert answer.detail == "connection refused"


# -- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "wanted", "ready"),
    [(200, None, True), (302, None, True), (404, None, False), (503, None, False), (404, 404, True), (200, 204, False)],
)
def test_http_status(status: int, wanted: int | None, *, ready: bool) -> None:
    """Any status below 400 is ready, or exactly the one that was asked for."""
    reply = f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode()
    answer, _ = attempt_on(say(reply), lambda port: HttpProbe("127.0.0.1", port, "/live", wanted))

    assert (answer.verdict is Verdict.READY) is ready
    assert answer.detail == f"answered {status} to GET /live"


def test_http_request_is_complete() -> None:
    """The request names host and path as servers behind virtual hosts need it."""
    seen = []

    def handler(link: object, _: int) -> None:
        seen.append(link.recv(65536))  # type: ignore[attr-defined]  # its type says less than it has
        link.sendall(b"HTTP/1.0 200\r\n\r\n")  # type: ignore[attr-defined]  # its type says less than it has

    answer, _ = attempt_on(handler, lambda port: HttpProbe("127.0.0.1", port, "/a?b=c"))

    assert answer.verdict is Verdict.READY
    assert seen[0].startswith(b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert seen[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "handler",
    [
        hang_up,
        silent(),
        drip(b"HTTP/1.1 200 OK\r\nx", 0.005),
        say(b"HTTP/1.1 200 OK\r\n" + b"x" * 10**6),
        say(b"SSH-2.0\r\n"),
    ],
)
def test_http_server_that_pretends(handler: Handler) -> None:
    """Half an answer is none, and the limit holds."""
    answer, took = attempt_on(handler, lambda port: HttpProbe("127.0.0.1", port, "/"))

    assert answer.verdict is Verdict.NOT_YET
    assert took < 1.0


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=200).map(lambda tail: b"HTTP/1." + tail))
def test_http_any_bytes(data: bytes) -> None:
    """No answer makes the probe raise."""
    answer, _ = attempt_on(say(data), lambda port: HttpProbe("127.0.0.1", port, "/"))

    assert answer.verdict in Verdict


# -- log and exec --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "ready"), [(1, True), (2, True), (3, False)])
def test_log_lines_are_counted(count: int, *, ready: bool) -> None:
    """As many lines as asked for must match."""
    log = "starting\nready to accept connections\nstopping\nready to accept connections\n"
    answer = LogProbe("db", "ready to .* connections$", count, Engine(log)).attempt(1.0)

    assert (answer.verdict is Verdict.READY) is ready
    assert answer.detail == f"2 of {count} matching lines among 4"


def test_log_that_cannot_be_read() -> None:
    """A service that does not run yet has no log, which is no error."""
    answer = LogProbe("db", "x", 1, BrokenEngine()).attempt(1.0)

    assert (answer.verdict, answer.detail) == (Verdict.NOT_YET, "no log: container is not running")


def test_exec_exit_code() -> None:
    """Only exit code 0 is ready, and the last line says why not."""
    good = ExecProbe("db", ("pg_isready",), Engine(result=lambda: (0, "accepting\n"))).attempt(2.0)
    bad = ExecProbe("db", ("pg_isready",), Engine(result=lambda: (2, "trying\nno response\n"))).attempt(2.0)

    assert (good.verdict, good.detail) == (Verdict.READY, "exit code 0: accepting")
    assert (bad.verdict, bad.detail) == (Verdict.NOT_YET, "exit code 2: no response")


def test_exec_that_hangs_or_fails() -> None:
    """A check that does not end, or that the engine cannot run, is not ready."""

    def late() -> tuple[int, str]:
        raise TimeoutError

    def fail() -> tuple[int, str]:
        raise EngineFailed("no such program")

    assert "did not end within 2.0 s" in ExecProbe("db", ("x",), Engine(result=late)).attempt(2.0).detail
    assert "no such program" in ExecProbe("db", ("x",), Engine(result=fail)).attempt(2.0).detail


# -- which probe ---------------------------------------------------------------------------------------------------


def service(kind: str, ready: Ready | None = None, ports: tuple[PortSpec, ...] | None = None) -> ServiceSpec:
    definition = kinds.get(kind)
    options = {name: option.default for name, option in definition.options.items()}
    return ServiceSpec("svc", kind, ports=definition.ports if ports is None else ports, ready=ready, options=options)


def described(spec: ServiceSpec) -> str:
    numbers = {port.name: 20431 + i for i, port in enumerate(spec.ports)}
    connection = kinds.get(spec.kind).connection(spec, "127.0.0.1", numbers, {"password": "p", "token": "t"})
    return probe_for(spec, connection, Engine()).describe()


HEALTHZ = "answers GET http://127.0.0.1:20431/healthz with a status below 400"
TWO_PORTS = (PortSpec("smtp", 1025), PortSpec("http", 8025))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (service("postgres"), "answers the Postgres handshake on 127.0.0.1:20431"),
        (service("redis"), "answers the Redis handshake on 127.0.0.1:20431"),
        (service("generic", ports=TWO_PORTS), "accepts connections on 127.0.0.1:20431"),
        (service("generic"), "runs"),
        (
            service("generic", HttpReady("/livez", "http"), TWO_PORTS),
            "answers GET http://127.0.0.1:20432/livez with a status below 400",
        ),
        (service("generic", TcpReady(send="PING", expect="PONG"), TWO_PORTS), "says 'PONG' on 127.0.0.1:20431"),
        (service("generic", LogReady("listening", 2)), "logs a line that matches 'listening' 2 times"),
        (service("generic", ExecReady(("test", "-e", "/x"))), "runs `test -e /x` with success"),
        (
            service("websocket", HttpReady("/healthz")),
            f"{HEALTHZ} and answers the Websocket handshake on 127.0.0.1:20431",
        ),
    ],
)
def test_the_probe_a_service_gets(spec: ServiceSpec, expected: str) -> None:
    """A kind gets its handshake, with the user's check before it; anything else what the user says, TCP, or running."""
    assert described(spec) == expected


def test_both_share_one_limit() -> None:
    """The second check gets what the first left over, and is not tried where the first fails."""
    limits = []

    class Noted(TcpProbe):
        def attempt(self, limit_s: float) -> Attempt:
            limits.append(limit_s)
            return Attempt(Verdict.READY, "")

    with LocalServer(silent()) as server:
        first = TcpProbe("127.0.0.1", server.port)
        assert Both(first, Noted("127.0.0.1", 1)).attempt(0.5).verdict is Verdict.READY
    assert 0.0 < limits[0] < 0.45
    assert Both(TcpProbe("127.0.0.1", closed_port()), Noted("127.0.0.1", 1)).attempt(0.5).detail == "connection refused"
    assert len(limits) == 1


# -- what it costs -------------------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported() -> None:
    """Waiting and every handshake need no driver, no asyncio, no HTTP library."""
    program = """
import json, sys
import envctl.ready.wait, envctl.ready.factory, envctl.ready.http, envctl.ready.tcp, envctl.ready.log, envctl.ready.exec
from envctl.kinds import names, probe
from envctl.model import Connection
for kind in names():
    function = probe(kind)
    if function:
        function(Connection(kind, kind, "127.0.0.1", 1, "ws://127.0.0.1:1/?token=t", password="t"), 0.2)
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    heavy = {
        "asyncio",
        "http.client",
        "urllib.request",
        "psycopg",
        "redis",
        "httpx",
        "docker",
        "ssl",
        "concurrent.futures",
    }

    assert not heavy & set(json.loads(done.stdout))


def test_stream_refuses_to_go_on_after_its_deadline() -> None:
    """Nothing is sent once the time is over."""
    with LocalServer(silent()) as server, Stream("127.0.0.1", server.port, time.monotonic() + 0.05) as stream:
        with pytest.raises(TimeoutError):
            stream.exactly(1)
        with pytest.raises(TimeoutError):
            stream.send(b"late")
