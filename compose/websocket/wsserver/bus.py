"""The bus: how channels reach beyond one process."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .logs import event
from .protocol import is_message_for
from .session import SessionLost
from .settings import RedisSettings

if TYPE_CHECKING:
    from .redis import RedisSession

COMMAND_TIMEOUT_S = 2.0

Deliver = Callable[[str, bytes], int]


class Unavailable(Exception):
    """Redis is away or refuses: nothing was done, or it is not known whether it was."""

    def __init__(self, message: str = "Redis cannot be reached at the moment") -> None:
        super().__init__(message)


class Bus(Protocol):
    """Carries frames between the servers that have clients on a channel, this one included."""

    async def join(self, channel: str) -> None:
        """Return when every frame published from now on will be delivered here. One ``leave`` for each ``join``."""
        ...

    async def leave(self, channel: str) -> None:
        """Undo one ``join``."""
        ...

    async def publish(self, channel: str, frame: bytes) -> int:
        """Hand a frame over; return how many servers take it."""
        ...


class LocalBus:
    """Channels within this process, for when there is no Redis."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def join(self, channel: str) -> None:
        """Nothing to do."""

    async def leave(self, channel: str) -> None:
        """Nothing to do."""

    async def publish(self, channel: str, frame: bytes) -> int:
        """Deliver here."""
        return 1 if self._deliver(channel, frame) else 0


@dataclass(slots=True, eq=False)
class _Channel:
    """One channel's subscription in Redis: how many want it, and in which session it is in place."""

    wanted: int = 0
    session: RedisSession | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RedisBus:
    """Channels shared by all servers that use the same Redis and prefix."""

    def __init__(self, settings: RedisSettings, prefix: str, deliver: Deliver, on_foreign: Callable[[], None]) -> None:
        self._settings, self._prefix = settings, prefix
        self._deliver, self._on_foreign = deliver, on_foreign
        self._channels: defaultdict[str, _Channel] = defaultdict(_Channel)
        self._session: RedisSession | None = None

    async def connect(self) -> RedisSession:
        """Open a session and put every wanted subscription in place in it, before anybody may use it."""
        from .redis import RedisSession

        self._session = None
        session = await RedisSession.connect(self._settings, self._receive)
        try:
            await asyncio.gather(*(self._settle(channel, session) for channel in list(self._channels)))
        except BaseException:
            await session.close()
            raise
        self._session = session
        return session

    async def join(self, channel: str) -> None:
        """Want the channel; return when Redis has confirmed the subscription.

        Raises:
            Unavailable: the channel is then not wanted.
        """
        async with self._live_session() as session:
            entry = self._channels[channel]
            entry.wanted += 1
            try:
                await self._settle(channel, session)
            except BaseException:
                entry.wanted -= 1
                self._forget_unused(channel, entry)
                raise

    async def leave(self, channel: str) -> None:
        """Want the channel no more. Without Redis that is all: the next session will not subscribe to it."""
        self._channels[channel].wanted -= 1
        with suppress(Unavailable):
            async with self._live_session() as session:
                await self._settle(channel, session)

    async def publish(self, channel: str, frame: bytes) -> int:
        """Let Redis pass a frame to all servers; return how many it has passed it to.

        Raises:
            Unavailable: it was not published, or the connection broke before Redis said that it was.
        """
        async with self._live_session() as session:
            receivers = await session.command("PUBLISH", self._prefix + channel, frame)
        return receivers if isinstance(receivers, int) else 0

    @asynccontextmanager
    async def _live_session(self) -> AsyncIterator[RedisSession]:
        """The session, whose failure or silence during the block becomes Unavailable."""
        session = self._session
        if session is None or session.lost.done():
            raise Unavailable
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                yield session
        except TimeoutError as error:
            session.lose(f"no answer in {COMMAND_TIMEOUT_S:g} s")
            raise Unavailable from error
        except SessionLost as error:
            if session.lost.done():
                raise Unavailable from error
            event("redis_refused", level=logging.WARNING, error=str(error))
            raise Unavailable(f"Redis refused: {error}") from error

    async def _settle(self, channel: str, session: RedisSession) -> None:
        """Bring the subscription in Redis to what is wanted, with one command at a time for each channel.

        Whoever changes ``wanted`` comes here afterwards and waits for its turn. So an acknowledged subscription is
        never undone by an older, slower command.
        """
        entry = self._channels[channel]
        async with entry.lock:
            if entry.session is not session:
                entry.session = None  # what was in place ended with the session it was in
            while (subscribed := entry.session is session) != (entry.wanted > 0):
                await session.command("UNSUBSCRIBE" if subscribed else "SUBSCRIBE", self._prefix + channel)
                entry.session = None if subscribed else session
            self._forget_unused(channel, entry)

    def _forget_unused(self, channel: str, entry: _Channel) -> None:
        if not entry.wanted and entry.session is None and self._channels.get(channel) is entry:
            del self._channels[channel]

    def _receive(self, name: bytes, payload: bytes) -> None:
        channel = name.decode().removeprefix(self._prefix)
        if is_message_for(channel, payload):
            self._deliver(channel, payload)
        else:
            self._on_foreign()
