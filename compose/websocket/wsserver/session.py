"""A session: one connection to a dependency, from its making to its loss."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque


class SessionLost(Exception):
    """The dependency cannot be reached, refused us, or does not answer."""


class Session(ABC):
    """A connection that answers in the order of the questions, as both Redis and Postgres do."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[SessionLost] = asyncio.get_running_loop().create_future()
        """Done as soon as the connection is known to be unusable; holds the reason."""
        self._answers: deque[asyncio.Future[object]] = deque()

    @abstractmethod
    async def round_trip(self) -> None:
        """Ask something and wait for the answer.

        Raises:
            SessionLost: if there will be no answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give the connection up; never fails, whatever state it is in."""

    def lose(self, reason: str) -> None:
        """Declare the connection unusable: whoever waits for an answer learns it now."""
        if self.lost.done():
            return
        self.lost.set_result(SessionLost(reason))
        while self._answers:
            self._fail(SessionLost(reason))

    def _expect(self) -> asyncio.Future[object]:
        """The place of the next answer; to be taken in the same step in which the question is sent."""
        if self.lost.done():
            raise SessionLost(str(self.lost.result()))
        future = asyncio.get_running_loop().create_future()
        self._answers.append(future)
        return future

    def _answer(self, value: object) -> None:
        if not self._answers:
            self.lose("an answer came that nobody asked for")
            return
        future = self._answers.popleft()
        if not future.done():  # whoever asked may have given up
            future.set_result(value)

    def _fail(self, error: SessionLost) -> None:
        future = self._answers.popleft()
        if not future.done():
            future.set_exception(error)
