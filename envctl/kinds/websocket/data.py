"""Channels of a WebSocket server for one worker: a prefix, for the server knows no others."""

from __future__ import annotations

from dataclasses import dataclass

from envctl.model import Connection

_LONGEST_CHANNEL = 200


@dataclass(frozen=True, slots=True)
class Channels:
    """A namespace of channels.

    Attributes:
        connection: The server.
        prefix: What all of its channels begin with: "w3.".
    """

    connection: Connection
    prefix: str

    @property
    def url(self) -> str:
        """The server's, token included."""
        return self.connection.url

    def channel(self, name: str) -> str:
        """The channel of this namespace for `name`.

        Raises:
            ValueError: No server takes it: a channel is 1 to 200 printable characters, the prefix among them.
        """
        full = self.prefix + name
        if not name or not full.isprintable() or len(full) > _LONGEST_CHANNEL:
            raise ValueError(f"not a channel: {full!r}; it needs 1 to {_LONGEST_CHANNEL} printable characters")
        return full
