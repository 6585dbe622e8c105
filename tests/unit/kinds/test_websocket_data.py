"""Channels of one's own."""

from __future__ import annotations

import pytest

from envctl.kinds.websocket.data import Channels
from envctl.model import Connection

CHANNELS = Channels(Connection("ws", "websocket", "127.0.0.1", 1, "ws://127.0.0.1:1/ws?token=x"), "w3.")


def test_a_channel_is_in_its_namespace() -> None:
    """Each name becomes one that no other worker uses, on the same server."""
    assert CHANNELS.channel("orders") == "w3.orders"
    assert CHANNELS.url == "ws://127.0.0.1:1/ws?token=x"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 198])
def test_what_no_server_takes_is_refused(name: str) -> None:
    """A channel's name is 1 to 200 printable characters, the prefix among them."""
    with pytest.raises(ValueError, match="not a channel"):
        CHANNELS.channel(name)
    assert CHANNELS.channel("x" * 197)
