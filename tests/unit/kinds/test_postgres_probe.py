"""The Postgres handshake against a real server, and against servers that only pretend."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_server import LocalServer, closed_port, drip, hang_up, say, silent
from real_servers import (
    OLDER_WAYS,
    PASSWORD,
    clone_postgres,
    eventually,
    init_postgres,
    postgres_folder,
    running_postgres,
    sql,
)

from envctl.errors import DataFailed, ForeignServer
from envctl.kinds.postgres.probe import attempt
from envctl.kinds.postgres.proof import prove
from envctl.model import Connection, Verdict
from envctl.ready.answers import PASSWORD_REFUSED


def connection(port: int, *, user: str = "app", password: str = PASSWORD, database: str = "app") -> Connection:
    return Connection("db", "postgres", "127.0.0.1", port, "postgresql://", user, password, database)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A cluster that never runs, to be copied."""
    with postgres_folder() as folder:
        init_postgres(folder / "template")
        yield folder / "template"


@pytest.fixture(scope="module")
def port(template: Path) -> Iterator[int]:
    data = template.with_name("data")
    clone_postgres(template, data)
    with running_postgres(data) as port:
        eventually(lambda: attempt(connection(port, database="postgres"), 2.0).verdict is Verdict.READY)
        create = [f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'" for user in OLDER_WAYS if user != "with_md5"]
        md5 = ["SET password_encryption = 'md5'", f"CREATE ROLE with_md5 LOGIN PASSWORD '{PASSWORD}'"]
        sql(port, ["CREATE DATABASE app", *create, *md5])
        yield port


def test_ready_with_scram(port: int) -> None:
    """The environment's user, password and database are let in and SELECT 1 is answered."""
    answer = attempt(connection(port), 2.0)

    assert answer.verdict is Verdict.READY
    assert "PostgreSQL 18" in answer.detail


@pytest.mark.parametrize("user", OLDER_WAYS)
def test_ready_with_older_authentication(port: int, user: str) -> None:
    """A server set to md5, a clear text password or trust is usable, so it is ready."""
    assert attempt(connection(port, user=user), 2.0).verdict is Verdict.READY


@pytest.mark.parametrize("user", ["app", "with_md5", "with_cleartext"])
def test_wrong_password(port: int, user: str) -> None:
    """A refused password is told as such, whichever way it was asked for."""
    answer = attempt(connection(port, user=user, password="wrong"), 2.0)

    assert answer.verdict is Verdict.NOT_YET
    assert answer.detail.startswith(PASSWORD_REFUSED)


def test_missing_database(port: int) -> None:
    """A server without our database is not ready, and the answer names the database."""
    answer = attempt(connection(port, database="shop"), 2.0)

    assert (answer.verdict, answer.detail) == (Verdict.NOT_YET, 'database "shop" does not exist yet')


def test_leaves_no_session_behind(port: int) -> None:
    """A probe says good-bye, so it never stands in the way of dropping the database."""
    import psycopg

    attempt(connection(port), 2.0)

    with psycopg.connect(host="127.0.0.1", port=port, user="app", password=PASSWORD, dbname="postgres") as session:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'envctl'"
        eventually(lambda: session.execute(count).fetchone() == (0,))


def test_starting_up(template: Path) -> None:
    """A server that does not let anyone in yet (57P03) is not ready; provoked by a standby that serves nobody."""
    data = template.with_name("standby")
    clone_postgres(template, data)
    (data / "standby.signal").touch(mode=0o666)
    (data / "standby.signal").chmod(0o666)
    with running_postgres(data, "hot_standby=off", "restore_command=false") as port:
        answers = []

        def refused() -> bool:
            answers.append(attempt(connection(port), 1.0))
            return "refused" not in answers[-1].detail

        eventually(refused)

    assert answers[-1].verdict is Verdict.NOT_YET
    assert "the database system is" in answers[-1].detail


def test_shutting_down(template: Path) -> None:
    """A server that waits for its last client to leave is not ready."""
    import psycopg

    data = template.with_name("leaving")
    clone_postgres(template, data)
    with running_postgres(data) as own_port:
        ours = connection(own_port, database="postgres")
        eventually(lambda: attempt(ours, 1.0).verdict is Verdict.READY)
        with psycopg.connect(host="127.0.0.1", port=own_port, user="app", password=PASSWORD, dbname="postgres"):
            pid = int((data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 15)  # SIGTERM: smart shutdown
            eventually(lambda: attempt(ours, 1.0).verdict is not Verdict.READY)
            answer = attempt(ours, 1.0)

    assert answer.detail == "the database system is shutting down"


# -- servers that only pretend -------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def auth(request: int, data: bytes = b"") -> bytes:
    return message(b"R", request.to_bytes(4, "big") + data)


READY_FOR_QUERY = message(b"Z", b"I")


class FakeScram:
    """The server's half of SCRAM, without knowing the password: it lets everyone in and signs with a key of its own."""

    def __init__(self, *, sign: Callable[[bytes], bytes] | None, iterations: int = 4096) -> None:
        self._sign, self._iterations = sign, iterations

    def __call__(self, link: socket.socket, _: int) -> None:
        link.recv(65536)
        link.sendall(auth(10, b"SCRAM-SHA-256\0\0"))
        first = link.recv(65536).split(b"n=,r=")[1]
        salt = base64.b64encode(b"0123456789abcdef")
        link.sendall(auth(11, b"r=%sxyz,s=%s,i=%d" % (first, salt, self._iterations)))
        link.recv(65536)
        if self._sign:
            link.sendall(auth(12, b"v=" + base64.b64encode(self._sign(first))))
        link.sendall(auth(0) + READY_FOR_QUERY)
        link.recv(65536)
        row = message(b"D", b"\0\1\0\0\0\x011")
        link.sendall(message(b"T", b"\0\0") + row + message(b"C", b"SELECT 1\0") + READY_FOR_QUERY)
        link.recv(65536)


def test_a_server_that_does_not_know_the_password_is_not_ours() -> None:
    """A server that accepts any password cannot sign with ours, so it is never taken for ready."""
    guess = FakeScram(sign=lambda nonce: hmac.digest(hashlib.sha256(b"guess").digest(), nonce, "sha256"))
    with LocalServer(guess) as server:
        answer = attempt(connection(server.port), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert "does not know this environment's password" in answer.detail


def test_a_server_that_skips_its_own_proof_is_not_ours() -> None:
    """Leaving out the signature is no way around proving it."""
    with LocalServer(FakeScram(sign=None)) as server:
        answer = attempt(connection(server.port), 1.0)

    assert answer.verdict is Verdict.NOT_YET
    assert "did not prove" in answer.detail


@pytest.mark.parametrize("iterations", [0, 100_001, 10**12])
def test_absurd_iterations_are_refused(iterations: int) -> None:
    """A server cannot make a probe compute for minutes."""
    with LocalServer(FakeScram(sign=None, iterations=iterations)) as server:
        started = time.monotonic()
        answer = attempt(connection(server.port), 1.0)

    assert "rounds" in answer.detail
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("handler", "detail"),
    [
        (hang_up, "closed the connection"),
        (silent(), "does not answer in time"),
        (drip(message(b"N", b"x" * 60_000), 0.005), "does not answer in time"),
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "another protocol"),
        (say(b"R" + (2**31 - 1).to_bytes(4, "big") + b"x" * 1_000_000), "cannot have 2147483647 bytes"),
        (say(message(b"E", b"SFATAL\0C53300\0Msorry, too many clients already\0\0")), "too many clients"),
        (say(message(b"E", b"")), "an error without a message"),
        (say(READY_FOR_QUERY), "did not authenticate"),
        (say(auth(7)), "method 7"),
        (say(auth(11, b"r=x")), "not begun"),
        (say(auth(10, b"SCRAM-SHA-512\0\0")), "no SCRAM-SHA-256"),
        (say(auth(0) + READY_FOR_QUERY + message(b"D", b"\0\1\0\0\0\x012") + READY_FOR_QUERY), "returned [b'2']"),
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.lists(st.tuples(st.sampled_from(list(b"RSEZDTKN")), st.binary(max_size=60)), max_size=8).map(
            lambda parts: b"".join(message(bytes((kind,)), body) for kind, body in parts)
        ),
        st.lists(st.tuples(st.sampled_from([0, 3, 5, 10, 11, 12]), st.binary(max_size=40)), max_size=5).map(
            lambda parts: b"".join(auth(request, body) for request, body in parts)
        ),
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


# -- whose server it is ------------------------------------------------------------------------------------------------


def test_a_server_of_ones_own_is_proven(port: int) -> None:
    """With SCRAM a server shows that it knows the password, also where the database is not there any more."""
    prove(connection(port))
    prove(connection(port, database="gone"))


@pytest.mark.provokes("FOREIGN_SERVER")
@pytest.mark.parametrize("user", OLDER_WAYS)
def test_older_ways_prove_nothing(port: int, user: str) -> None:
    """A server that lets us in without having proven itself could be anybody's, so its data is not touched."""
    with pytest.raises(ForeignServer) as caught:
        prove(connection(port, user=user))
    assert "SCRAM" in str(caught.value.cause)
    assert caught.value.exit == 78


@pytest.mark.provokes("FOREIGN_SERVER")
def test_another_password_or_protocol_is_anothers_server(port: int) -> None:
    """A server that refuses the password, or is no Postgres at all, is not ours; one that is gone is not called so."""
    with LocalServer(say(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as other:
        for wrong in (connection(port, password="wrong"), connection(other.port), connection(port, password="")):
            with pytest.raises(ForeignServer):
                prove(wrong)
    with pytest.raises(DataFailed):
        prove(connection(closed_port()))
