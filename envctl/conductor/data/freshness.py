"""What in prepared data lives only for a time gets all of that time again when a service starts from it."""

from __future__ import annotations

from envctl import kinds
from envctl.model import Connection


def restore(connection: Connection) -> None:
    """Put back the baseline of a service that was just started from prepared data, where anything in that has aged.

    Args:
        connection: The service; nobody uses it yet.

    Raises:
        DataFailed: It could not be put back.
    """
    settling, baselines = kinds.settling(connection.kind), kinds.baselines(connection.kind)
    if settling is not None and baselines is not None and settling.has_aged(connection):
        baselines.reset(connection)
