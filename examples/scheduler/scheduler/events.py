"""Telling what happens: kept in Postgres, streamed through Redis, and told over a WebSocket at once."""

import json
from typing import Any, Protocol

import psycopg
import redis
from psycopg.types.json import Jsonb


class Announcer(Protocol):
    """Whoever tells those that listen."""

    def tell(self, message: dict[str, Any]) -> None: ...


class Events:
    """What happened to runs."""

    def __init__(self, database: psycopg.Connection, store: redis.Redis, announcer: Announcer | None = None):
        self._database = database
        self._store = store
        self._announcer = announcer

    def publish(self, run: int, kind: str, **payload: Any) -> int:
        """Tell it; the event's number."""
        row = self._database.execute(
            "INSERT INTO events (run_id, kind, payload) VALUES (%s, %s, %s) RETURNING id", (run, kind, Jsonb(payload))
        ).fetchone()
        self._store.xadd("news", {"kind": kind, "run": run})
        if self._announcer is not None:
            self._announcer.tell({"event": row[0], "kind": kind, "run": run, **payload})
        return row[0]


class Channel:
    """A channel of the WebSocket server, over a connection to it."""

    def __init__(self, socket, name: str):
        self._socket = socket
        self._name = name

    def listen(self) -> None:
        """Hear what is told from now on."""
        self._ask({"type": "subscribe", "channel": self._name})

    def tell(self, message: dict[str, Any]) -> None:
        """Tell all who listen."""
        self._ask({"type": "publish", "channel": self._name, "data": message})

    def next(self, limit_s: float = 5.0) -> dict[str, Any]:
        """What is told next."""
        while (message := json.loads(self._socket.recv(timeout=limit_s)))["type"] != "message":
            pass
        return message["data"]

    def _ask(self, request: dict[str, Any]) -> None:
        self._socket.send(json.dumps(request))
        answer = json.loads(self._socket.recv(timeout=5))
        if answer["type"] == "error":
            raise RuntimeError(answer["message"])
