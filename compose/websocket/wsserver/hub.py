"""The hub: which clients there are, and which of them receive which channel."""

from __future__ import annotations

from collections.abc import Collection

from . import protocol
from .client import Client
from .instruments import Instruments


class Hub:
    """Delivers to the clients of this process. Knows nothing of Redis, Postgres or other replicas."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._clients: set[Client] = set()
        self._receivers: dict[str, set[Client]] = {}

    @property
    def clients(self) -> Collection[Client]:
        """All connected clients."""
        return self._clients

    @property
    def subscription_count(self) -> int:
        """The subscriptions of all clients."""
        return sum(map(len, self._receivers.values()))

    def attach(self, client: Client) -> None:
        """Add a client."""
        self._clients.add(client)

    def detach(self, client: Client) -> None:
        """Remove a client from the hub and from all its channels; ``client.channels`` still names them."""
        self._clients.discard(client)
        for channel in client.channels:
            self._forget(client, channel)

    def subscribe(self, client: Client, channel: str) -> None:
        """From now on the client receives the channel."""
        client.channels.add(channel)
        self._receivers.setdefault(channel, set()).add(client)

    def unsubscribe(self, client: Client, channel: str) -> None:
        """From now on the client does not receive the channel."""
        client.channels.discard(channel)
        self._forget(client, channel)

    def deliver(self, channel: str, frame: bytes) -> int:
        """Queue a frame for each client that receives the channel; return how many took it."""
        receivers = self._receivers.get(channel, ())
        taken = sum(client.offer(frame) for client in receivers)
        if missed := len(receivers) - taken:
            self._instruments.dropped.add(missed, label="slow_client")
        return taken

    def resync(self, reason: str) -> None:
        """Tell every subscriber that messages may have been missed, because this dependency was away."""
        for channel in self._receivers:
            self.deliver(channel, protocol.frame("resync", channel=channel, reason=reason))

    def _forget(self, client: Client, channel: str) -> None:
        receivers = self._receivers.get(channel, set())
        receivers.discard(client)
        if not receivers:
            self._receivers.pop(channel, None)
