"""What this server measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .metrics import Counter, Gauge, Histogram, Metric, render

PUBLISH_LIMITS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
DROP_REASONS = ("slow_client", "foreign")
DEPENDENCIES = ("postgres", "redis")

Numbers = Callable[[], Mapping[str, float]]


class Instruments:
    """All metrics of one server; the gauges look their numbers up in the objects that own them."""

    def __init__(self) -> None:
        self.received = Counter("envctl_ws_messages_received_total", "Messages received from clients.")
        self.sent = Counter("envctl_ws_messages_sent_total", "Messages sent to clients, answers included.")
        self.dropped = Counter(
            "envctl_ws_messages_dropped_total", "Messages that were not delivered.", "reason", DROP_REASONS
        )
        self.errors = Counter("envctl_ws_errors_total", "Requests answered with an error, by code.", "code")
        self.refused = Counter("envctl_ws_handshakes_refused_total", "Handshakes refused, by HTTP status.", "status")
        self.slow_clients = Counter("envctl_ws_slow_clients_closed_total", "Clients closed for reading too slowly.")
        self.notify_invalid = Counter("envctl_ws_notify_invalid_total", "Postgres notifications that were no event.")
        self.publish_s = Histogram(
            "envctl_ws_publish_seconds", "From a publish request to its acceptance by Redis.", PUBLISH_LIMITS_S
        )
        self.reconnects = Counter(
            "envctl_ws_reconnects_total", "Connections made again after a loss.", "dependency", DEPENDENCIES
        )
        self._gauges: list[Metric] = []

    def watch(self, *, clients: Numbers, subscriptions: Numbers, dependency_up: Numbers) -> None:
        """Add the gauges, when the objects they look into exist."""
        self._gauges = [
            Gauge("envctl_ws_clients", "Clients connected.", clients),
            Gauge("envctl_ws_subscriptions", "Subscriptions of all clients.", subscriptions),
            Gauge("envctl_ws_dependency_up", "Whether a dependency is connected.", dependency_up, "dependency"),
        ]

    def page(self) -> str:
        """The text of ``/metrics``."""
        counters: Iterable[Metric] = (
            self.received,
            self.sent,
            self.dropped,
            self.errors,
            self.refused,
            self.slow_clients,
            self.notify_invalid,
            self.publish_s,
            self.reconnects,
        )
        return render([*self._gauges, *counters])
