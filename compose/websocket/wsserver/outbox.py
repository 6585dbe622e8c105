"""The outbox: one client's queue of outgoing messages, bounded, and with an end."""

from __future__ import annotations

import asyncio
from collections import deque


class OutboxClosed(Exception):
    """Nothing more will be sent to this client."""


class Outbox:
    """Filled by many, emptied by one writer. Unlike ``asyncio.Queue``, it lets go of everyone who waits at its end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._closed = False
        self._filled, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def offer(self, frame: bytes) -> bool:
        """Add a frame if there is room."""
        if self._closed or len(self._frames) >= self._limit:
            return False
        self._add(frame)
        return True

    async def put(self, frame: bytes) -> None:
        """Add a frame, waiting for room.

        Raises:
            OutboxClosed: if there will be no room any more.
        """
        while len(self._frames) >= self._limit and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise OutboxClosed
        self._add(frame)

    async def take(self) -> bytes:
        """Remove the oldest frame, waiting for one. Asking for the next frame says that the last one was sent.

        Raises:
            OutboxClosed: if there will be no frame any more.
        """
        while not self._frames and not self._closed:
            self._idle.set()
            self._filled.clear()
            await self._filled.wait()
        if self._closed:
            raise OutboxClosed
        self._room.set()
        return self._frames.popleft()

    async def flushed(self) -> None:
        """Wait until everything was sent, or nothing more will be."""
        await self._idle.wait()

    def close(self) -> None:
        """Drop what is queued and let go of everyone who waits."""
        self._closed = True
        self._frames.clear()
        for event in (self._filled, self._room, self._idle):
            event.set()

    def _add(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._idle.clear()
        self._filled.set()
