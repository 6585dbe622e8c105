"""One worker that is handed databases, again and again: `python -m benchmarks.hand_out METHOD NAME NUMBER PAUSE_S`.

The variable HAND_OUT tells how to reach the server, the method's template, and, where there is one, the port of
`peer/pool_server.py`. Prints "ready" when the first database was had; goes on when its stdin says so; then prints, as
JSON, the seconds of the first hand-out, of each later one, and of each test with all that belongs to it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol
from urllib.parse import quote

import psycopg

from envctl.kinds.postgres.databases.pool import Pool
from envctl.model import Connection


class Source(Protocol):
    """Hands out databases, by their URLs."""

    def take(self) -> str: ...

    def give_back(self, url: str) -> None: ...

    def close(self) -> None: ...


class Ours:
    """The pool of `fresh_postgres`, of this process."""

    def __init__(self, known: Mapping[str, Any], name: str) -> None:
        base = Connection(**known["connection"])
        self._pool = Pool(base, known["template"], f"{name}_t")
        self._lent: dict[str, Connection] = {}

    def take(self) -> str:
        made = self._pool.take()
        self._lent[made.url] = made
        return made.url

    def give_back(self, url: str) -> None:
        self._pool.give_back(self._lent.pop(url))

    def close(self) -> None:
        self._pool.close()


class Cloning:
    """As pgtestdb does it: each test connects, makes a copy of the template, and drops it in the end."""

    def __init__(self, known: Mapping[str, Any], name: str) -> None:
        self._url, self._template, self._name, self._made = known["connection"]["url"], known["template"], name, 0

    def take(self) -> str:
        self._made += 1
        name = f"{self._name}_t{self._made}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return url_of(self._url, name)

    def give_back(self, url: str) -> None:
        self._do(f"DROP DATABASE {url.rpartition('/')[2]}")

    def close(self) -> None:
        pass

    def _do(self, statement: str) -> None:
        with psycopg.connect(url_of(self._url, "postgres"), autocommit=True) as link:
            link.execute(statement.encode())


class Asking:
    """As IntegreSQL does it: one server for all workers keeps copies ready; a line stands for an HTTP request."""

    def __init__(self, known: Mapping[str, Any], name: str) -> None:
        self._url = known["connection"]["url"]
        self._socket = socket.create_connection(("127.0.0.1", known["port"]))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("r")

    def take(self) -> str:
        return url_of(self._url, self._ask("get"))

    def give_back(self, url: str) -> None:
        self._ask(f"recreate {url.rpartition('/')[2]}")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def _ask(self, line: str) -> str:
        self._socket.sendall(f"{line}\n".encode())
        return self._answers.readline().strip()


METHODS: Mapping[str, Callable[[Mapping[str, Any], str], Source]] = {
    "envctl": Ours,
    "pgtestdb": Cloning,
    "integresql": Asking,
}


def url_of(server: str, name: str) -> str:
    """Another database of a server."""
    return f"{server.rpartition('/')[0]}/{quote(name, safe='')}"


def main(arguments: Sequence[str]) -> None:
    """Work as a worker does."""
    method, name, number, pause_s = arguments[0], arguments[1], int(arguments[2]), float(arguments[3])
    source = METHODS[method](json.loads(os.environ["HAND_OUT"]), name)
    with ExitStack() as held:
        held.callback(source.close)
        first, _ = one_test(source, 0.0)
        print("ready", flush=True)
        sys.stdin.readline()
        figures = [one_test(source, pause_s) for _ in range(number)]
        takes, wholes = zip(*figures, strict=True)
    print(json.dumps({"first": [first], "take": takes, "whole": wholes}))


def one_test(source: Source, pause_s: float) -> tuple[float, float]:
    """A test with a small write: the seconds until it had its database, and, without the pause, until it had ended."""
    began_s = time.perf_counter()
    url = source.take()
    took_s = time.perf_counter() - began_s
    with psycopg.connect(url, autocommit=True) as link:
        rows = link.execute(b"INSERT INTO t1 (name) VALUES ('own'); SELECT count(*) FROM t1 WHERE name = 'own'")
        rows.nextset()
        if rows.fetchone() != (1,):
            raise SystemExit(f"{url.rpartition('/')[2]} holds rows of another test")
    time.sleep(pause_s)
    source.give_back(url)
    return took_s, time.perf_counter() - began_s - pause_s


if __name__ == "__main__":
    main(sys.argv[1:])
