"""Who may become a client, and what is refused before a WebSocket exists."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .conftest import StartServer
from .peers import TOKEN, Peer, Server, peer

pytestmark = pytest.mark.asyncio


async def refused(url: str, headers: dict[str, str] | None = None) -> int:
    """The HTTP status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url, additional_headers=headers, proxy=None):
            pass
    return refusal.value.response.status_code


async def test_token_is_accepted_in_the_query_and_as_bearer(server: Server) -> None:
    """The token opens the door as `?token=` and as `Authorization: Bearer`."""
    async with peer(server) as client:
        assert await client.ask("ping") == {"type": "pong", "id": 1}
    headers = {"Authorization": f"bearer {TOKEN}"}
    async with connect(server.url(token=None), additional_headers=headers, proxy=None) as connection:
        assert await Peer(connection).ask("ping") == {"type": "pong", "id": 1}


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü", "\ud800"])
async def test_wrong_or_missing_token_is_401(server: Server, token: str | None) -> None:
    """Without the exact token the handshake is refused with 401."""
    url = server.url(token=None) + ("" if token is None else "?token=" + quote(token, errors="surrogatepass"))
    assert await refused(url) == 401
    if token is not None and token.isascii():
        assert await refused(server.url(token=None), {"Authorization": f"Bearer {token}"}) == 401
        assert await refused(server.url(token=None), {"Authorization": f"Basic {TOKEN}"}) == 401


async def test_wrong_path_is_404(server: Server) -> None:
    """A handshake anywhere but at the WebSocket's path is refused with 404, valid token or not."""
    for path in ("/", "/ws/", "/wsx", "//ws", "/healthzz"):
        assert await refused(server.url(path=path)) == 404
        assert await refused(server.url(token=None, path=path)) == 404


async def test_path_can_be_chosen(start_server: StartServer) -> None:
    """WS_PATH moves the WebSocket."""
    server = start_server({"WS_PATH": "/live/socket"})
    assert await refused(server.url()) == 404
    async with connect(server.url(path="/live/socket"), proxy=None) as connection:
        assert (await Peer(connection).ask("ping"))["type"] == "pong"


async def test_plain_http_request_to_the_websocket_is_answered(server: Server) -> None:
    """A plain GET of the WebSocket's path with a valid token says that an upgrade is needed."""
    assert (await server.get(f"/ws?token={quote(TOKEN, safe='')}")).status == 426


async def test_client_limit_is_exact_under_a_rush(start_server: StartServer) -> None:
    """Of many simultaneous handshakes exactly MAX_CLIENTS succeed, the rest get 503, and a place freed is usable."""
    server = start_server({"MAX_CLIENTS": "5"})
    await server.ready()

    async with contextlib.AsyncExitStack() as stack:

        async def attempt() -> int:
            try:
                await stack.enter_async_context(connect(server.url(), proxy=None))
            except InvalidStatus as refusal:
                return refusal.response.status_code
            return 101

        statuses = await asyncio.gather(*(attempt() for _ in range(40)))
        assert (statuses.count(101), statuses.count(503)) == (5, 35)
    await server.metric_reaches("envctl_ws_clients", 0)
    async with peer(server) as client:
        assert (await client.ask("ping"))["type"] == "pong"
    assert await server.metric('envctl_ws_handshakes_refused_total{status="503"}') == 35


async def test_secrets_never_reach_the_log(start_server: StartServer) -> None:
    """Neither the token nor anything else of a query string is logged, not even for broken requests at level DEBUG."""
    server = start_server({"LOG_LEVEL": "debug"})
    await server.ready()
    async with peer(server) as client:
        await client.ask("ping")
    await refused(server.url(token="wrong-but-private"))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /ws?token={TOKEN.replace(' ', '')} broken\r\n\r\n".encode())
    await reader.read()
    writer.close()
    assert server.terminate() == 0
    written = "".join(server.lines)
    assert "client_gone" in written
    for secret in (TOKEN, quote(TOKEN), quote(TOKEN, safe=""), TOKEN.replace(" ", ""), "wrong-but-private", "token="):
        assert secret not in written
