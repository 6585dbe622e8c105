"""The parts that need no server: back-off, metrics, logging, outbox, link."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import cast

import pytest
from websockets.asyncio.server import ServerConnection
from wsserver import client as client_module
from wsserver import link as link_module
from wsserver.backoff import BASE_S, CAP_S, Backoff
from wsserver.instruments import Instruments
from wsserver.link import Link
from wsserver.logs import JsonFormatter, Redactor
from wsserver.metrics import Counter, Gauge, Histogram, render
from wsserver.outbox import Outbox, OutboxClosed
from wsserver.session import Session, SessionLost


def test_backoff_doubles_up_to_its_cap() -> None:
    """The limit of the delay starts at 50 ms, doubles with each failure, and stops at 5 s."""
    backoff = Backoff(draw=lambda _low, high: high)
    delays = [backoff.next_delay_s() for _ in range(1100)]
    assert delays[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert delays[-1] == CAP_S
    backoff.reset()
    assert backoff.next_delay_s() == BASE_S


class Draws(list[tuple[float, float]]):
    """Stands in for chance: notes each range asked for and gives its lower end."""

    def __call__(self, low: float, high: float) -> float:
        self.append((low, high))
        return low


def test_backoff_draws_from_the_whole_range() -> None:
    """The jitter is full: the delay is drawn between zero and the limit."""
    asked = Draws()
    backoff = Backoff(asked)
    assert [backoff.next_delay_s() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert asked == [(0.0, 0.05), (0.0, 0.1), (0.0, 0.2)]


def test_metrics_render_as_prometheus_text() -> None:
    """Counters, gauges and histograms give the lines the text format prescribes."""
    plain, labelled = Counter("a_total", "A."), Counter("b_total", "B.", "why", ["known"])
    histogram = Histogram("c_seconds", "C.", (0.1, 1.0))
    plain.add()
    labelled.add(2, label='quote " backslash \\ line\n')
    for seconds in (0.1, 0.5, 7.0):
        histogram.observe(seconds)
    assert render([plain, labelled, Gauge("d", "D.", lambda: {"": 0.5}), histogram]) == (
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"
        "# HELP b_total B.\n# TYPE b_total counter\n"
        'b_total{why="known"} 0\nb_total{why="quote \\" backslash \\\\ line\\n"} 2\n'
        "# HELP d D.\n# TYPE d gauge\nd 0.5\n"
        "# HELP c_seconds C.\n# TYPE c_seconds histogram\n"
        'c_seconds_bucket{le="0.1"} 1\nc_seconds_bucket{le="1"} 2\nc_seconds_bucket{le="+Inf"} 3\n'
        "c_seconds_sum 7.6\nc_seconds_count 3\n"
    )


def test_redactor_knows_a_secret_in_every_spelling() -> None:
    """A secret disappears as it is, as in a URL and as in JSON; a secret inside another leaves no rest."""
    redact = Redactor(['p/w "1"', "p/w", "", "ab"])
    text = 'p/w "1" p%2Fw%20%221%22 p/w%20%221%22 p/w \\"1\\" xp/wx about'
    assert redact(text) == "*** *** *** *** x***x about"


def test_log_line_is_json_with_fields_and_exception() -> None:
    """A record becomes one line with its fields and its traceback, secrets masked everywhere."""
    try:
        raise ValueError("hunter2 failed")
    except ValueError as error:
        failure = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "event", (), failure)
    record.fields = {"user": "hunter2", "number": 3}
    line = JsonFormatter(Redactor(["hunter2"])).format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert (document["level"], document["event"], document["user"], document["number"]) == ("error", "event", "***", 3)
    assert document["exception"].endswith("ValueError: *** failed")


@pytest.mark.asyncio
async def test_outbox_keeps_order_and_its_bound() -> None:
    """The outbox gives frames back in order, refuses one too many, and lets a putter wait for room."""
    outbox = Outbox(2)
    assert [outbox.offer(frame) for frame in (b"1", b"2", b"3")] == [True, True, False]
    waiting = asyncio.create_task(outbox.put(b"4"))
    await asyncio.sleep(0)
    assert len(outbox) == 2
    assert [await outbox.take() for _ in range(2)] == [b"1", b"2"]
    await waiting
    assert await outbox.take() == b"4"


@pytest.mark.asyncio
async def test_closed_outbox_lets_go_of_everyone() -> None:
    """Whoever waits to put, to take, or for the end is released when the outbox closes."""
    full, empty = Outbox(1), Outbox(1)
    full.offer(b"1")
    waiting = [asyncio.create_task(full.put(b"2")), asyncio.create_task(empty.take())]
    flushed = asyncio.create_task(full.flushed())
    await asyncio.sleep(0)
    full.close()
    empty.close()
    await flushed
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [OutboxClosed, OutboxClosed]
    assert full.offer(b"3") is False


@pytest.mark.asyncio
async def test_outbox_is_flushed_when_the_last_frame_was_sent() -> None:
    """Taking the last frame is not the end; asking for the next one is, for only then was it sent."""
    outbox = Outbox(5)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    await outbox.flushed()
    outbox.offer(b"1")
    flushed = asyncio.create_task(outbox.flushed())
    assert await taking == b"1"
    await asyncio.sleep(0)
    assert not flushed.done()
    asking = asyncio.create_task(outbox.take())
    await flushed
    asking.cancel()


class FakeSession(Session):
    """A session that answers when told to."""

    async def round_trip(self) -> None:
        await self._expect()

    async def close(self) -> None:
        self.lose("closed")

    def answer(self) -> None:
        self._answer(None)


def make_link(sessions: Sequence[FakeSession | Exception]) -> Link:
    left = list(sessions)

    async def connect() -> Session:
        result = left.pop(0) if left else SessionLost("no more sessions")
        if isinstance(result, Exception):
            raise result
        return result

    return Link(
        "redis",
        connect,
        driver="json",
        on_connected=lambda: None,
        instruments=Instruments(),
        redact=Redactor(["hunter2"]),
    )


async def until(link: Link, state: str) -> dict[str, object]:
    async with asyncio.timeout(10):
        while link.describe()["state"] != state:
            await link.check()
            await asyncio.sleep(0)
    return link.describe()


@pytest.mark.asyncio
async def test_session_answers_in_order_and_fails_everyone_when_lost() -> None:
    """Answers go to the questions in their order; at the loss all open questions fail with its reason."""
    session = FakeSession()
    first, second = (asyncio.create_task(session.round_trip()) for _ in range(2))
    await asyncio.sleep(0)
    session.answer()
    await first
    session.lose("gone")
    with pytest.raises(SessionLost, match="gone"):
        await second
    with pytest.raises(SessionLost, match="gone"):
        await session.round_trip()


@pytest.mark.asyncio
async def test_session_that_hears_an_answer_to_nothing_is_lost() -> None:
    """An answer that nobody asked for means that questions and answers no longer match."""
    session = FakeSession()
    session.answer()
    assert "nobody asked" in str(session.lost.result())


@pytest.mark.asyncio
async def test_link_counts_attempts_and_tells_the_first_line_of_the_reason() -> None:
    """The status counts the tries of one outage and keeps its last reason, one line, masked."""
    session = FakeSession()
    link = make_link([SessionLost("hunter2 refused\nsecond line"), OSError("no route"), session])
    running = asyncio.create_task(link.run())
    status = await until(link, "connected")
    assert (status["attempts"], status["last_error"]) == (3, None)
    session.lose("password hunter2 expired\nsecond line")
    status = await until(link, "connecting")
    assert status["last_error"] == "password *** expired"
    running.cancel()


@pytest.mark.asyncio
async def test_asking_for_readiness_shortens_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """During a long back-off a readiness check brings the next attempt at once."""
    monkeypatch.setattr(Backoff, "next_delay_s", lambda _: 3600.0)
    link = make_link([OSError("not yet"), FakeSession()])
    running = asyncio.create_task(link.run())
    await until(link, "connected")
    running.cancel()


@pytest.mark.asyncio
async def test_simultaneous_checks_share_one_round_trip() -> None:
    """However many ask at once, the dependency is asked once."""
    session = FakeSession()
    link = make_link([session])
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(10):
        while not link.connected:
            await asyncio.sleep(0)
    checks = [asyncio.create_task(link.check()) for _ in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)
    session.answer()
    assert await asyncio.gather(*checks) == [True] * 10
    assert not session.lost.done()
    running.cancel()


@pytest.mark.asyncio
async def test_silent_connection_is_noticed_without_anyone_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that gives no sign of loss is tried by itself from time to time, and given up when silent."""
    monkeypatch.setattr(link_module, "HEALTH_INTERVAL_S", 0.01)
    monkeypatch.setattr(link_module, "SILENCE_LIMIT_S", 0.01)
    session = FakeSession()
    link = make_link([session])
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(10):
        reason = await session.lost
    assert str(reason) == "no answer in 0.01 s"
    running.cancel()


@pytest.mark.asyncio
async def test_late_answer_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that answers late is not ready until it does; its connection stays, and nobody has to resync."""
    monkeypatch.setattr(link_module, "PROMPT_S", 0.01)
    session = FakeSession()
    link = make_link([session])
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(10):
        while not link.connected:
            await asyncio.sleep(0)
    assert await link.check() is False
    assert (link.describe()["state"], link.describe()["last_error"]) == ("connecting", "no answer in 0.01 s")
    session.answer()
    async with asyncio.timeout(10):
        while not link.connected:
            await asyncio.sleep(0)
    assert link.describe()["last_error"] is None
    assert not session.lost.done()
    running.cancel()


@pytest.mark.asyncio
async def test_attempt_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting to something that accepts and then says nothing ends after a limit, and is tried again."""
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_S", 0.01)
    link = make_link([FakeSession()])
    connect, hanging = link._connect, [True]

    async def hang_once() -> Session:
        if hanging and hanging.pop():
            await asyncio.Event().wait()
        return await connect()

    link._connect = hang_once
    running = asyncio.create_task(link.run())
    assert (await until(link, "connected"))["attempts"] == 2
    running.cancel()


@pytest.mark.parametrize(("stable_s", "expected"), [(0.0, [0.05, 0.05]), (60.0, [0.05, 0.1])])
@pytest.mark.asyncio
async def test_only_a_lasting_connection_ends_the_series_of_failures(
    monkeypatch: pytest.MonkeyPatch, stable_s: float, expected: list[float]
) -> None:
    """After a connection that lasted, retries are quick again; connections that break at once keep slowing down."""
    monkeypatch.setattr(link_module, "STABLE_S", stable_s)
    draws = Draws()
    sessions = [FakeSession(), FakeSession(), FakeSession()]
    link = make_link(sessions)
    link._backoff = Backoff(draws)
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(10):
        for session in sessions:
            while link._session is not session:
                await asyncio.sleep(0)
            session.lose("gone")
    running.cancel()
    assert [high for _, high in draws[:2]] == expected


class StuckConnection:
    """A connection in which nothing moves any more."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def send(self, _frame: bytes, *, text: bool) -> None:
        await asyncio.Event().wait()

    async def close(self, code: int, _reason: str) -> None:
        self.closed.set_result(code)


@pytest.mark.asyncio
async def test_message_that_cannot_be_sent_for_long_closes_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose connection takes nothing is closed as slow even if its queue never fills up."""
    monkeypatch.setattr(client_module, "SEND_TIMEOUT_S", 0.01)
    connection = StuckConnection()
    client = client_module.Client(cast("ServerConnection", connection), 100, Instruments())
    assert client.offer(b"x")
    async with asyncio.timeout(10):
        assert await connection.closed == 4008
    assert not client.offer(b"y")
    await client.ended()


@pytest.mark.asyncio
async def test_client_that_is_to_go_takes_no_more_messages() -> None:
    """While the rest of its queue is sent a client accepts nothing new, and is not mistaken for a slow one."""
    connection = StuckConnection()
    client = client_module.Client(cast("ServerConnection", connection), 100, Instruments())
    assert client.offer(b"last")
    going = asyncio.create_task(client.go_away())
    await asyncio.sleep(0)
    assert not client.offer(b"late")
    with pytest.raises(OutboxClosed):
        await client.reply(b"late")
    assert not going.done()
    assert not connection.closed.done()
    going.cancel()
    await client.ended()
