"""Remembers what a database holds, and puts it back."""

from __future__ import annotations

from contextlib import suppress

from envctl.errors import DataFailed
from envctl.host.clock import monotonic_s
from envctl.kinds.postgres.data import Databases
from envctl.kinds.postgres.databases.transfer import Inside
from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.resets.baseline_swap import baseline_name, drop_all, make_spare
from envctl.kinds.postgres.resets.resetter import Resetter
from envctl.kinds.postgres.resets.tracking import forget, instrument
from envctl.model import Connection, ResetReport, ResetStrategy

_COPY_MS = "UPDATE envctl.meta SET copy_ms = %s"

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
        began_s = monotonic_s()
        made = databases.make_template(template, inside)
        copy_ms = (monotonic_s() - began_s) * 1000
        _settle(made, copy_ms)
        databases.seal(template)
        if strategy == "template":
            make_spare(connection, template)
        _write_down(connection, copy_ms)
    except BaseException:
        with suppress(DataFailed):  # the first error is the one to be told
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
    resetter = Resetter(connection, strategy, ahead=False)
    try:
        return resetter.reset()
    finally:
        resetter.close()


def _settle(template: Connection, copy_ms: float) -> None:
    """Make a copy what it was copied for: somebody may have written between the two."""
    with asking(template, "finish the baseline's template"), Client(template, LIMIT_S) as client:
        prepare(client)
        client.rows(_COPY_MS, str(copy_ms))
        if client.rows("SELECT strategy FROM envctl.meta") == [("template",)]:
            return
        ((outcome, _, note),) = client.rows("SELECT * FROM envctl.reset()")
        if outcome != "done":
            raise DataFailed(
                "the baseline could not be remembered",
                cause=note,
                fix=["take it while nobody changes the schema"],
                subject={"service": template.service, "database": template.database},
            )


def _write_down(connection: Connection, copy_ms: float) -> None:
    with asking(connection, "write down how long a copy takes"), Client(connection, LIMIT_S) as client:
        client.rows(_COPY_MS, str(copy_ms))
