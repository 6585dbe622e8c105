"""The server as a process, and clients that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .services import wait_until

SOURCE = Path(__file__).parents[2] / "compose" / "websocket"
TOKEN = "tok/en + % secret"
PATIENCE_S = 10.0


class Server:
    """One running ``python -m wsserver`` whose log is at hand."""

    def __init__(self, *environments: Mapping[str, str]) -> None:
        environment = {"WS_TOKEN": TOKEN, "HOST": "127.0.0.1", "PORT": "0", "PATH": os.environ["PATH"]}
        for more in environments:
            environment |= more
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wsserver"], cwd=SOURCE, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The log's records of this event, with these fields."""
        return [line for line in self.log if line["event"] == name and fields.items() <= line.items()]

    def wait_for(self, name: str, **fields: object) -> dict[str, Any]:
        """The first record of this event, when it comes."""

        def seen() -> bool:
            assert self.process.poll() is None or self.events(name, **fields), f"server ended: {self.lines}"
            return bool(self.events(name, **fields))

        wait_until(seen, f"the log to say {name} {fields}")
        return self.events(name, **fields)[0]

    @property
    def port(self) -> int:
        return int(self.wait_for("listening")["port"])

    def url(self, token: str | None = TOKEN, path: str = "/ws") -> str:
        return f"ws://127.0.0.1:{self.port}{path}" + (f"?{urlencode({'token': token})}" if token is not None else "")

    async def get(self, path: str, method: str = "GET") -> Answer:
        """One HTTP request."""
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
        status, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        return Answer(int(status.split()[1]), headers, body.decode())

    async def readiness(self) -> dict[str, Any]:
        return dict(json.loads((await self.get("/readyz")).body))

    async def ready(self, *, status: int = 200) -> dict[str, Any]:
        """Wait until ``/readyz`` answers with this status; return its document."""
        async for answer in self.polled("/readyz"):
            if answer.status == status:
                return dict(json.loads(answer.body))
        raise AssertionError("unreachable")

    async def metric(self, sample: str) -> float:
        """The value of one sample, such as ``name{label="x"}``."""
        page = (await self.get("/metrics")).body
        values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return float(values[sample])

    async def metric_reaches(self, sample: str, value: float) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.metric(sample) != value:
                await asyncio.sleep(0.005)

    async def polled(self, path: str) -> AsyncIterator[Answer]:
        """The answers of an endpoint, asked again and again until the test's patience ends."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                yield await self.get(path)
                await asyncio.sleep(0.005)

    def terminate(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: str


class Peer:
    """One connected client."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._inbox: list[dict[str, Any]] = []
        self._ids = iter(range(1, 1_000_000))

    async def send(self, **message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message of whatever kind."""
        if self._inbox:
            return self._inbox.pop(0)
        return await self._read()

    async def ask(self, kind: str, **fields: object) -> dict[str, Any]:
        """Send a request; return its answer. What arrives in between stays for ``receive``."""
        request_id = next(self._ids)
        await self.send(type=kind, id=request_id, **fields)
        while True:
            answer = await self._read()
            if answer.get("id") == request_id:
                return answer
            self._inbox.append(answer)

    async def subscribe(self, *channels: str) -> None:
        for channel in channels:
            answer = await self.ask("subscribe", channel=channel)
            assert answer["type"] == "subscribed", answer

    async def publish(self, channel: str, data: object) -> int:
        answer = await self.ask("publish", channel=channel, data=data)
        assert answer["type"] == "published", answer
        return int(answer["receivers"])

    async def closed(self) -> int | None:
        """Read to the end; return the close code."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await self.connection.recv()
        return self.connection.close_code

    async def _read(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            return dict(json.loads(await self.connection.recv()))


@contextlib.asynccontextmanager
async def peer(server: Server, *, token: str = TOKEN, **options: Any) -> AsyncIterator[Peer]:
    """A client of this server."""
    async with connect(server.url(token), proxy=None, **options) as connection:
        yield Peer(connection)
