"""Hands out copies of a template as IntegreSQL does: one server for all, which keeps them ready.

Usage: pool_server.py SIZE, with SERVER_URL and TEMPLATE. Makes SIZE databases, prints its port, ends with its stdin.

As there, so many threads as there are processors make databases ahead; one that a test has done with is dropped and
made again in the background. A connection that stays, and a line, stand for each HTTP request: "get" is answered by
a name as soon as one is ready, "recreate NAME" at once.
"""

import os
import queue
import socket
import sys
import threading

import psycopg

SERVER, TEMPLATE = os.environ["SERVER_URL"], os.environ["TEMPLATE"]
ready: queue.SimpleQueue[str] = queue.SimpleQueue()
wanted: queue.SimpleQueue[str] = queue.SimpleQueue()


def make() -> None:
    """Work for one thread."""
    with psycopg.connect(SERVER, autocommit=True) as link:
        while name := wanted.get():
            link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            link.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}".encode())
            ready.put(name)


def serve(link: socket.socket) -> None:
    """Work for one worker of the tests."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with link, link.makefile("r") as lines:
        for line in lines:
            word, _, name = line.strip().partition(" ")
            if word == "recreate":
                wanted.put(name)
            link.sendall(f"{ready.get() if word == 'get' else 'ok'}\n".encode())


def accept(listener: socket.socket) -> None:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def main() -> None:
    size = int(sys.argv[1])
    names = [f"pooled_{number}" for number in range(size)]
    for name in names:
        wanted.put(name)
    makers = [threading.Thread(target=make) for _ in range(os.cpu_count() or 1)]
    for maker in makers:
        maker.start()
    held = [ready.get() for _ in names]
    for name in held:
        ready.put(name)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    for _ in makers:
        wanted.put("")
    for maker in makers:
        maker.join()
    with psycopg.connect(SERVER, autocommit=True) as link:
        for name in names:
            link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


main()
