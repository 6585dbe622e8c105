"""The clean slate of a WebSocket server: nobody connected, no channel subscribed to. There is nothing to remember."""

from __future__ import annotations

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.contents import Inside
from envctl.kinds.websocket import control
from envctl.model import Connection, ResetReport, ResetStrategy

SESSIONS = "sessions"

_NOT_BUNDLED = "not the bundled server: nothing was reset"


def take(connection: Connection, strategy: ResetStrategy, inside: Inside) -> None:
    """Nothing: its baseline is that nobody is connected."""


def reset(connection: Connection, strategy: ResetStrategy | None = None) -> ResetReport:  # noqa: ARG001 - the contract's
    """Close all sessions, and with them all subscriptions.

    A user's own server is left alone, unless it answers at /reset as the bundled one does.

    Args:
        connection: The service.
        strategy: There is one for all.

    Raises:
        ForeignServer: It is the bundled server of somebody else.
        DataFailed: It does not answer.
    """
    began_s = clock.monotonic_s()
    closed, note = _close(connection)
    return ResetReport(connection.service, SESSIONS, closed, round((clock.monotonic_s() - began_s) * 1000, 3), note)


def _close(connection: Connection) -> tuple[int, str]:
    if not control.is_bundled(connection) and not _agrees(connection):
        return 0, _NOT_BUNDLED
    answer = control.ask(connection, "POST")
    if answer.status == 401:
        raise control.foreign(connection, "it does not accept the environment's token")
    closed = answer.content.get("sessions")
    if answer.status != 200 or not isinstance(closed, int):
        raise control.failed(connection, f"it answered {answer.status} to POST {control.PATH}")
    return closed, ""


def _agrees(connection: Connection) -> bool:
    """Whether a user's own server takes part, and knows the token it was given."""
    try:
        return bool(connection.password) and control.is_proven(connection)
    except DataFailed:  # it speaks no HTTP but to clients, for example
        return False


class Resetter:
    """Resets one server again and again; each time over a connection of its own, which the server ends.

    Args:
        connection: The service.
        strategy: There is one for all.
    """

    def __init__(self, connection: Connection, strategy: ResetStrategy | None = None) -> None:
        self._connection = connection

    def reset(self) -> ResetReport:
        """As the function of the same name."""
        return reset(self._connection)

    def close(self) -> None:
        """Nothing is open."""
