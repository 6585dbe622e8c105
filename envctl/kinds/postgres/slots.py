"""The databases of one slot: a template, its worker's database, and those of the worker's tests.

Their names tell the slot, which no other live session has: "app_w3", "app_w3_t1". So what somebody who was killed has
left is found by whoever gets the slot next, and removed before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from envctl import kinds
from envctl.kinds.postgres.data import Databases, own_name
from envctl.kinds.postgres.transfer import Inside
from envctl.model import Connection, ResetStrategy

Fill = Callable[[Connection], object]
"""Fills a template: creates tables, runs migrations, inserts what all need."""


def worker_name(base: Connection, slot: int) -> str:
    """The name of the database of the worker with this slot; those of its tests begin so."""
    return own_name(base.database or "", f"_w{slot}")


def template_name(base: Connection, slot: int) -> str:
    """The name of the template of the run with this slot."""
    return own_name(base.database or "", f"_template{slot}")


def clear(databases: Databases, base: Connection, slot: int) -> None:
    """Remove what is there of a worker with this slot and of its tests. Raises DataFailed."""
    worker = worker_name(base, slot)
    own = re.compile(re.escape(worker) + r"(_t\d+)?")
    databases.drop(*[name for name in databases.names(worker) if own.fullmatch(name)])


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
    known = own_name(base.database or "", "_baseline")
    seeded = databases.exists(known)
    if seeded and fill is None:
        return known
    name = template_name(base, slot)
    databases.drop(name)
    made = databases.clone(known, name) if seeded else databases.make_template(name, inside)
    try:
        if fill:
            fill(made)
        if kinds.baselines("postgres"):
            from envctl.kinds.postgres import baseline

            baseline.instrument(made, name, strategy)
        databases.seal(name)
    except BaseException:
        databases.drop(name)
        raise
    return name
