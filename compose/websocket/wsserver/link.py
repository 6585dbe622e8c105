"""A link: one dependency that is connected, watched, and connected again for as long as the server lives."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, NoReturn

from .backoff import Backoff
from .instruments import Instruments
from .logs import Redactor, event
from .session import Session, SessionLost

CONNECT_TIMEOUT_S = 2.0
PROMPT_S = 1.0
"""An answer that takes longer means "not ready"; it may still come, and the connection is kept."""

SILENCE_LIMIT_S = 5.0
"""Without an answer for this long a connection is given up."""

HEALTH_INTERVAL_S = 5.0
"""How often an idle connection is tried, so that one whose other end vanished is noticed."""

STABLE_S = 5.0
"""A connection that lasted this long ends the series of failures; a shorter one continues it."""

MIN_GAP_S = 0.025
"""The least time between two attempts, however often somebody asks for readiness."""

LOSSES = (SessionLost, OSError, TimeoutError)


@dataclass(slots=True)
class Status:
    """What ``/readyz`` tells about one dependency."""

    state: Literal["connecting", "connected"]
    since: str
    attempts: int = 0
    """Tries since the connection was lost; of a connected one, how many it took."""
    last_error: str | None = None
    latency_ms: float | None = None


class Link:
    """Keeps one session open: connect, watch, lose, wait, connect again."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Session]],
        *,
        driver: str,
        on_connected: Callable[[], None],
        instruments: Instruments,
        redact: Redactor,
    ) -> None:
        self.name = name
        self._connect, self._driver, self._on_connected = connect, driver, on_connected
        self._instruments, self._redact = instruments, redact
        self._status = Status("connecting", _now())
        self._backoff = Backoff()
        self._session: Session | None = None
        self._was_connected = False
        self._trying: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._status.state == "connected"

    def describe(self) -> dict[str, object]:
        """The status as data."""
        return asdict(self._status)

    async def run(self) -> NoReturn:
        """Keep the dependency connected, for ever."""
        # The drivers take longer to import than the rest of the server takes to start. In a thread they do not
        # keep the first /healthz waiting.
        await asyncio.to_thread(importlib.import_module, self._driver)
        while True:
            await self._one_session()
            await self._pause()

    async def check(self) -> bool:
        """Prove the connection by a round trip now. Without a connection, make the next attempt come at once."""
        if self._session is None:
            self._wanted.set()
            return False
        if self._trying is None:
            # Shared by all who ask meanwhile: a crowd of pollers costs the dependency one round trip.
            self._trying = asyncio.create_task(self._try(self._session))
        done, _ = await asyncio.wait([self._trying], timeout=PROMPT_S)
        if not done:
            self._down(SessionLost(f"no answer in {PROMPT_S:g} s"))
        return self.connected

    async def _try(self, session: Session) -> None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(SILENCE_LIMIT_S):
                await session.round_trip()
        except LOSSES as error:
            session.lose(str(error) or f"no answer in {SILENCE_LIMIT_S:g} s")
            self._down(session.lost.result())
        else:
            self._answered(time.perf_counter() - started)
        finally:
            self._trying = None

    async def _one_session(self) -> None:
        """Connect and keep the connection until it is lost."""
        self._status.attempts += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                session = await self._connect()
        except LOSSES as error:
            self._down(SessionLost(str(error) or f"no connection within {CONNECT_TIMEOUT_S:g} s"))
            return
        connected_at = time.monotonic()
        try:
            self._up(session)
            while not session.lost.done():
                await asyncio.wait([session.lost], timeout=HEALTH_INTERVAL_S)
                await self.check()
            self._down(session.lost.result())
        finally:
            self._session = None
            await session.close()
        if time.monotonic() - connected_at >= STABLE_S:
            self._backoff.reset()

    async def _pause(self) -> None:
        """Wait before the next attempt; shorter if somebody asks for readiness meanwhile."""
        delay_s = self._backoff.next_delay_s()
        await asyncio.sleep(MIN_GAP_S)
        try:
            async with asyncio.timeout(max(0.0, delay_s - MIN_GAP_S)):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()

    def _up(self, session: Session) -> None:
        self._session = session
        if self._was_connected:
            self._instruments.reconnects.add(label=self.name)
        self._was_connected = True
        self._status = Status("connected", _now(), attempts=self._status.attempts)
        event("dependency_connected", dependency=self.name, attempts=self._status.attempts)
        self._on_connected()

    def _answered(self, seconds: float) -> None:
        if not self.connected:  # late, but on the same connection: nothing was missed, so nobody is told to resync
            self._status = Status("connected", _now())
            event("dependency_answers_again", dependency=self.name)
        self._status.latency_ms = round(seconds * 1000, 3)

    def _down(self, error: SessionLost) -> None:
        lines = self._redact(str(error)).strip().splitlines()
        reason = lines[0][:300] if lines else type(error).__name__
        # An outage is logged when it begins and when its reason changes, not with every attempt.
        if self.connected or reason != self._status.last_error:
            event("dependency_unavailable", level=logging.WARNING, dependency=self.name, error=reason)
        if self.connected:
            self._status = Status("connecting", _now())
        self._status.last_error = reason


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
