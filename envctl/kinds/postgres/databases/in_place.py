"""Puts back a copy of a baseline that nobody is connected to, unless another copy would have to take its place."""

from __future__ import annotations

from envctl.errors import DataFailed
from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.protocol.client import Client
from envctl.model import Connection


def put_back(connection: Connection) -> bool:
    """Whether the database holds again what its baseline told. If not, it is to be thrown away: only a copy helps.

    Args:
        connection: A database that was copied from a baseline's template.
    """
    try:
        with asking(connection, "put a database back"), Client(connection, LIMIT_S) as client:
            prepare(client)
            if client.rows("SELECT strategy FROM envctl.meta") == [("template",)]:
                return False
            ((outcome, _, _),) = client.rows("SELECT * FROM envctl.reset()")
    except (DataFailed, ValueError):
        return False
    return outcome != "template"
