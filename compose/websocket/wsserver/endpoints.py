"""Endpoints: what is answered over HTTP, and who may become a client."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from .instruments import Instruments
from .link import Link
from .metrics import CONTENT_TYPE
from .settings import HTTP_PATHS, RESET_PATH, Settings

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Endpoints:
    """Decides about each HTTP request, before any WebSocket exists."""

    def __init__(
        self,
        settings: Settings,
        links: dict[str, Link | None],
        instruments: Instruments,
        client_count: Callable[[], int],
        reset: Callable[[], Awaitable[dict[str, int]]],
    ) -> None:
        self._settings, self._links, self._instruments = settings, links, instruments
        self._client_count, self._reset = client_count, reset
        self.draining = False
        """Set when the server is about to stop: it is no longer ready, and takes no more clients."""

    async def decide(self, connection: ServerConnection, request: Request) -> Response | None:
        """The response to a request, or nothing if a WebSocket may be opened."""
        path, _, query = request.path.partition("?")
        if path in HTTP_PATHS:
            return await self._page(path, request.method)
        if path == RESET_PATH:
            return await self._control(query, request)
        refusal = self._refusal(path, query, request)
        if refusal is not None:
            self._instruments.refused.add(label=str(refusal.status_code))
        return refusal

    async def _page(self, path: str, method: str) -> Response:
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", Allow="GET, HEAD")
        if path == "/readyz":
            response = await self._readiness()
        elif path == "/metrics":
            response = _response(HTTPStatus.OK, self._instruments.page(), content_type=CONTENT_TYPE)
        else:
            response = _response(HTTPStatus.OK, "ok\n")
        if method == "HEAD":
            response.body = b""
        return response

    async def _control(self, query: str, request: Request) -> Response:
        """Close all sessions, for whoever has the token; a GET only proves whose server this is."""
        if not self._authorized(query, request.headers):
            return _unauthorized()
        if request.method == "GET":
            return _response(HTTPStatus.OK, json.dumps({"resets": "sessions"}) + "\n", content_type=JSON)
        if request.method != "POST":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and POST\n", Allow="GET, POST")
        if self.draining:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "the server is going away\n")
        return _response(HTTPStatus.OK, json.dumps(await self._reset()) + "\n", content_type=JSON)

    async def _readiness(self) -> Response:
        """Ready means: each configured dependency answered just now."""
        links = [link for link in self._links.values() if link]
        ready = all(await asyncio.gather(*(link.check() for link in links))) and not self.draining
        document = {
            "status": "ready" if ready else "not_ready",
            "draining": self.draining,
            "dependencies": {
                name: link.describe() if link else {"state": "not_configured"} for name, link in self._links.items()
            },
        }
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _response(status, json.dumps(document) + "\n", content_type=JSON)

    def _refusal(self, path: str, query: str, request: Request) -> Response | None:
        if path != self._settings.path:
            return _response(HTTPStatus.NOT_FOUND, f"the WebSocket is at {self._settings.path}\n")
        if not self._authorized(query, request.headers):
            return _unauthorized()
        if self.draining:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "the server is going away\n")
        if self._client_count() >= self._settings.limits.clients:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n", Retry_After="1")
        return None

    def _authorized(self, query: str, headers: Headers) -> bool:
        """Whether the request carries the token, as ``?token=`` or as ``Authorization: Bearer``."""
        offered = parse_qs(query).get("token", [])
        for header in headers.get_all("Authorization"):
            scheme, _, credentials = header.partition(" ")
            if scheme.lower() == "bearer":
                offered.append(credentials.strip())
        expected = self._settings.token.encode()
        return any(hmac.compare_digest(_bytes(token), expected) for token in offered)


def _bytes(token: str) -> bytes:
    return token.encode(errors="replace")


def _unauthorized() -> Response:
    return _response(HTTPStatus.UNAUTHORIZED, "a valid token is required\n", WWW_Authenticate="Bearer")


def _response(status: HTTPStatus, body: str, *, content_type: str = TEXT, **headers: str) -> Response:
    content = body.encode()
    fields = Headers(
        {
            "Content-Type": content_type,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
    )
    return Response(status, status.phrase, fields, content)
