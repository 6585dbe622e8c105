"""Telling everybody who listens."""

import json


class News:
    """A channel of the WebSocket server, over a connection to it."""

    def __init__(self, socket, channel: str):
        self._socket = socket
        self._channel = channel

    def listen(self):
        """Hear what is told from now on."""
        self._ask({"type": "subscribe", "channel": self._channel})

    def tell(self, **news):
        """Tell it to all who listen."""
        self._ask({"type": "publish", "channel": self._channel, "data": news})

    def next(self, limit_s: float = 5.0) -> dict:
        """The next news."""
        while (message := json.loads(self._socket.recv(timeout=limit_s)))["type"] != "message":
            pass
        return message["data"]

    def _ask(self, request: dict):
        self._socket.send(json.dumps(request))
        answer = json.loads(self._socket.recv(timeout=5))
        assert answer["type"] != "error", answer
