"""Whatever clients send, they get an answer, and the server lives."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsserver import protocol

from .peers import Server, peer

REQUESTS = (protocol.Subscribe, protocol.Unsubscribe, protocol.Publish, protocol.Ping)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
near_requests = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["subscribe", "unsubscribe", "publish", "ping", "message", ""]) | values,
        "channel": st.text(max_size=250) | values,
        "id": st.text(max_size=250) | st.integers() | values,
        "data": values,
    },
).map(json.dumps)
texts = st.text() | near_requests | values.map(json.dumps)

HOSTILE: dict[str | bytes, str] = {
    "": "bad_json",
    "\x00": "bad_json",
    "[" * 60_000: "bad_json",
    '{"a":' * 10_000: "bad_json",
    '{"type":"publish","channel":"c","data":NaN}': "bad_json",
    '{"type":"publish","channel":"c","data":1e999}': "bad_message",
    '{"type":"publish","channel":"c","data":"\\ud800"}': "bad_message",
    '{"type":"publish","channel":"c","data":{"\\udfff":1}}': "bad_message",
    '{"type":"publish","channel":"c"}': "bad_message",
    '{"type":"subscribe","channel":"\\ud800"}': "bad_message",
    '{"type":"subscribe","channel":"a\\r\\nPUBLISH x y"}': "bad_message",
    '{"type":"subscribe","channel":""}': "bad_message",
    '{"type":["subscribe"],"channel":{}}': "bad_message",
    '{"type":"ping","id":"\\ud800"}': "bad_message",
    '{"type":"ping","id":' + "9" * 5_000 + "}": "bad_json",
    '{"type":"ping","id":true}': "bad_message",
    "[]": "bad_message",
    b"": "bad_message",
    b"\xff\xfe\x00": "bad_message",
    b'{"type":"ping"}': "bad_message",
}


@given(raw=texts | st.binary())
def test_parsing_gives_a_request_or_a_rejection(raw: str | bytes) -> None:
    """Any text or binary is either a request or a rejection that can be sent; nothing else is raised."""
    try:
        request = protocol.parse(raw)
    except protocol.Rejected as rejected:
        answer = json.loads(protocol.error(rejected))
    else:
        assert isinstance(request, REQUESTS)
        return
    assert answer["code"] in ("bad_json", "bad_message")


@given(channel=st.text(min_size=1, max_size=200).filter(str.isprintable), data=values)
def test_message_is_strict_json_or_refused(channel: str, data: object) -> None:
    """Data is either carried unchanged by strict JSON, recognisable as of its channel, or refused as a ValueError."""
    try:
        frame = protocol.message(channel, data, "client")
    except ValueError:
        return
    assert protocol.is_message_for(channel, frame)
    assert not protocol.is_message_for(channel + "x", frame)
    assert json.loads(frame, parse_constant=pytest.fail)["data"] == data


@given(payload=st.binary() | texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_notification_is_an_event_or_a_value_error(payload: bytes) -> None:
    """Any Postgres payload is either an event or a ValueError."""
    try:
        channel, _ = protocol.parse_notification(payload)
    except ValueError:
        return
    assert channel.isprintable()


async def answers(server: Server, frames: list[str | bytes]) -> list[dict[str, object]]:
    """Send each frame, then a ping; return all answers up to the pong."""
    async with peer(server, max_queue=None) as client:
        for frame in frames:
            await client.connection.send(frame)
        await client.send(type="ping", id="end of the fuzz")
        seen = [await client.receive()]
        while seen[-1].get("id") != "end of the fuzz":
            seen.append(await client.receive())
        return [answer for answer in seen[:-1] if answer["type"] not in ("message", "resync")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(texts | st.binary(), max_size=30))
def test_server_answers_each_frame_once(server: Server, frames: list[str | bytes]) -> None:
    """Every frame that a client sends gets exactly one answer, and the connection stays open."""
    assert len(asyncio.run(answers(server, frames))) == len(frames)


@pytest.mark.asyncio
async def test_hostile_messages_get_errors(server: Server) -> None:
    """Messages made to break parsers, encoders and Redis commands get one error each, and the connection stays open."""
    await server.ready()
    received = await answers(server, list(HOSTILE))
    assert [answer["code"] for answer in received] == list(HOSTILE.values())


def deeper(data: object, calls: int) -> bytes:
    """Make the message that many calls below: the server, too, writes it from further down than it read it."""
    return deeper(data, calls - 1) if calls else protocol.message("c", data, "client")


def test_nesting_that_python_cannot_handle_is_refused() -> None:
    """At whatever depth reading or writing JSON gives up, the request is rejected as wrong."""
    for depth in (*range(700, 1100), 5_000, 50_000):
        try:
            request = protocol.parse('{"type":"publish","channel":"c","data":' + "[" * depth + "]" * depth + "}")
        except protocol.Rejected:
            continue
        assert isinstance(request, protocol.Publish)
        with contextlib.suppress(ValueError):
            deeper(request.data, calls=30)


@pytest.mark.asyncio
async def test_invalid_utf8_closes_with_1007(server: Server) -> None:
    """A text frame that is not UTF-8 is a violation of WebSocket itself and closes with 1007."""
    async with peer(server) as client:
        await client.connection.send(b"\xff\xff", text=True)
        assert await client.closed() == 1007
