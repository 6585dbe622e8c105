"""The bus and its subscriptions in Redis, against a Redis that answers when the test says so."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from wsserver.bus import RedisBus, Unavailable
from wsserver.redis import RedisSession
from wsserver.session import Session
from wsserver.settings import RedisSettings

pytestmark = pytest.mark.asyncio


class SlowRedis(Session):
    """Carries commands out in order, each when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[str, str]] = []
        self.subscribed: set[str] = set()

    async def command(self, name: str, channel: str, *_: object) -> object:
        answer = self._expect()
        self.waiting.append((name, channel))
        return await answer

    async def release(self) -> tuple[str, str]:
        """Carry out the oldest command, once there is one."""
        async with asyncio.timeout(5):
            while not self.waiting:
                await asyncio.sleep(0)
        name, channel = self.waiting.pop(0)
        (self.subscribed.add if name == "SUBSCRIBE" else self.subscribed.discard)(channel)
        self._answer(1)
        return name, channel

    async def round_trip(self) -> None:
        """Not asked for here."""

    async def close(self) -> None:
        self.lose("closed")


def make_bus(redis: SlowRedis) -> RedisBus:
    bus = RedisBus(RedisSettings("unused"), "p:", lambda _channel, _frame: 0, lambda: None)
    bus._session = cast("RedisSession", redis)
    return bus


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_join_waits_for_an_unsubscribe_that_is_under_way() -> None:
    """Whoever joins while the last one leaves is not told "subscribed" by what is about to end."""
    redis = SlowRedis()
    bus = make_bus(redis)
    first = asyncio.create_task(bus.join("c"))
    assert await redis.release() == ("SUBSCRIBE", "p:c")
    await first
    leaving = asyncio.create_task(bus.leave("c"))
    await settled()
    joining = asyncio.create_task(bus.join("c"))
    await settled()
    assert not joining.done()
    assert await redis.release() == ("UNSUBSCRIBE", "p:c")
    await settled()
    assert not joining.done()
    assert await redis.release() == ("SUBSCRIBE", "p:c")
    await asyncio.gather(leaving, joining)
    assert redis.subscribed == {"p:c"}


async def test_leave_during_a_join_ends_unsubscribed_and_forgotten() -> None:
    """A subscription that nobody wants any more when it is confirmed is ended, and leaves no trace."""
    redis = SlowRedis()
    bus = make_bus(redis)
    joining = asyncio.create_task(bus.join("c"))
    await settled()
    leaving = asyncio.create_task(bus.leave("c"))
    await settled()
    await redis.release()
    await redis.release()
    await asyncio.gather(joining, leaving)
    assert redis.subscribed == set()
    assert not bus._channels


async def test_second_subscriber_waits_for_the_first_ones_confirmation() -> None:
    """Two who join at once cause one command, and both wait for its answer."""
    redis = SlowRedis()
    bus = make_bus(redis)
    joins = [asyncio.create_task(bus.join("c")) for _ in range(2)]
    await settled()
    assert not any(join.done() for join in joins)
    assert redis.waiting == [("SUBSCRIBE", "p:c")]
    await redis.release()
    await asyncio.gather(*joins)
    await bus.leave("c")
    assert redis.waiting == []


async def test_failed_join_leaves_no_trace() -> None:
    """When Redis is lost during a join, or was before it, the channel is not wanted."""
    redis = SlowRedis()
    bus = make_bus(redis)
    joining = asyncio.create_task(bus.join("c"))
    await settled()
    redis.lose("gone")
    for attempt in (joining, bus.join("c")):
        with pytest.raises(Unavailable):
            await attempt
    assert not bus._channels
