"""Proves that a WebSocket server is this environment's own: by the token it accepts, while it refuses others."""

from __future__ import annotations

from envctl.kinds.websocket import control
from envctl.model import Connection


def prove(connection: Connection) -> None:
    """Prove that the server at the address is this environment's own.

    A user's own server has no way to do that unless it answers as the bundled one does. Nothing of it is changed
    unless it does (see `baseline`).

    Raises:
        ForeignServer: It is not, or does not prove it.
        DataFailed: It does not answer.
    """
    if control.is_bundled(connection) and not control.is_proven(connection):
        raise control.foreign(connection, "it does not accept the environment's token, or accepts any")
