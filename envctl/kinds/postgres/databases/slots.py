"""The databases of one slot: a template, its worker's database, and those of the worker's tests.

Their names tell the slot, which no other live session has: "app_w3", "app_w3_t1". So what somebody who was killed has
left is found by whoever gets the slot next, and removed before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from envctl.kinds.postgres.data import Databases, own_name
from envctl.kinds.postgres.databases.transfer import Inside
from envctl.kinds.postgres.resets.baseline_swap import baseline_name
from envctl.kinds.postgres.resets.tracking import instrument
from envctl.model import Connection, ResetStrategy

Fill = Callable[[Connection], object]
"""Fills a template: creates tables, runs migrations, inserts what all need."""

_LONGEST_BASE = 30
_BESIDE = r"(_spare\d|_old)?"  # what resets make beside a database
_MORE = r"(_t\d+)?" + _BESIDE


def short(database: str) -> str:
    """What of a database's name stands in those of its workers' databases."""
    return database[:_LONGEST_BASE]


def worker_name(base: Connection, slot: int) -> str:
    """The name of the database of the worker with this slot; those of its tests begin so.

    It is short enough for the names of those that a reset makes beside it.
    """
    return short(base.database or "") + f"_w{slot}"


def template_name(base: Connection, slot: int) -> str:
    """The name of the template of the run with this slot."""
    return own_name(base.database or "", f"_template{slot}")


def clear(databases: Databases, base: Connection, slot: int) -> None:
    """Remove what is there of a worker with this slot and of its tests. Raises DataFailed."""
    worker = worker_name(base, slot)
    own = re.compile(re.escape(worker) + _MORE)
    databases.drop(*[name for name in databases.names(worker) if own.fullmatch(name)])


def remove(databases: Databases, base: Connection, slot: int) -> None:
    """Remove the database of the worker with this slot, and what resets have made beside it. Raises DataFailed."""
    worker = worker_name(base, slot)
    databases.drop(*[name for name in databases.names(worker) if re.fullmatch(re.escape(worker) + _BESIDE, name)])


def template(
    databases: Databases,
    base: Connection,
    slot: int,
    inside: Inside,
    fill: Fill | None = None,
    strategy: ResetStrategy = "auto",
) -> str:
    """The name of a template for all workers of a run: the baseline's, where there is one and it is not to be filled.

    Else it is made: of the baseline, or of what the environment's own database holds now. Its copies can be reset.

    Args:
        databases: The server's.
        base: The environment's own database.
        slot: The run's.
        inside: Runs programs where the server is.
        fill: Fills it further.
        strategy: How its copies are reset.

    Raises:
        DataFailed: It could not be made; it is not there then.
    """
    known = baseline_name(base.database or "")
    seeded = databases.exists(known)
    if seeded and fill is None:
        return known
    name = template_name(base, slot)
    databases.drop(name)
    made = databases.clone(known, name) if seeded else databases.make_template(name, inside)
    try:
        if fill:
            fill(made)
        instrument(made, name, strategy)
        databases.seal(name)
    except BaseException:
        databases.drop(name)
        raise
    return name
