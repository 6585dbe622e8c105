"""Remembers what a database holds, and puts it back."""

from __future__ import annotations

from envctl.kinds.postgres.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.baseline_swap import baseline_name, drop_all, make_spare
from envctl.kinds.postgres.client import Client
from envctl.kinds.postgres.data import Databases
from envctl.kinds.postgres.resetter import Resetter
from envctl.kinds.postgres.tracking import forget, instrument
from envctl.kinds.postgres.transfer import Inside
from envctl.model import Connection, ResetReport, ResetStrategy

__all__ = ["Resetter", "baseline_name", "instrument", "reset", "take"]


def take(connection: Connection, strategy: ResetStrategy, inside: Inside) -> None:
    """From now on a reset goes back to what is there now. Again, it replaces what was remembered before.

    Args:
        connection: The database.
        strategy: How resets are to go.
        inside: Runs programs where the server is.

    Raises:
        DataFailed: It could not be remembered; then there is no baseline.
    """
    template = baseline_name(connection.database or "")
    databases = Databases(connection, LIMIT_S)
    drop_all(connection, template)
    try:
        instrument(connection, template, strategy)
        _settle(databases.make_template(template, inside))
        databases.seal(template)
        if strategy == "template":
            make_spare(connection, template)
    except BaseException:
        drop_all(connection, template)
        forget(connection)
        raise


def reset(connection: Connection, strategy: ResetStrategy | None = None) -> ResetReport:
    """Put the baseline back, whoever is connected; all of it or nothing.

    Args:
        connection: The database, or one that came from its baseline.
        strategy: How; None for what `take` was told.

    Raises:
        NoBaseline: None was taken.
        ResetBlocked: Somebody holds locks and was not ended.
        DataFailed: It failed; nothing was changed.
    """
    resetter = Resetter(connection, strategy)
    try:
        return resetter.reset()
    finally:
        resetter.close()


def _settle(template: Connection) -> None:
    """Make a copy what it was copied for: somebody may have written between the two."""
    with asking(template, "finish the baseline's template"), Client(template, LIMIT_S) as client:
        prepare(client)
        if client.rows("SELECT strategy FROM envctl.meta") != [("template",)]:
            client.rows("SELECT * FROM envctl.reset()")
