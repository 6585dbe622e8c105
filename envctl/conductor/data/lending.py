"""Databases beside the environment's own, for whoever asks: a worker, a test, a program of any language.

Each is a copy of the baseline, where the environment was seeded; else of what its own database holds now, or, in Redis,
empty. One that was made in a session (`envctl run`, a process of `up --while-pid`) is removed after that, by whoever
makes the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from envctl.conductor import inside, record
from envctl.conductor.data.numbers import Numbers
from envctl.conductor.place import SESSION_VARIABLE, Place, Selection, open_place
from envctl.errors import ServiceNotFound, Unsupported, UsageError
from envctl.host.registry import EnvironmentRecord
from envctl.kinds.contents import Resets
from envctl.kinds.postgres import proof as postgres_proof
from envctl.kinds.postgres.data import Databases, connection_to, own_name
from envctl.kinds.postgres.databases import lent, slots
from envctl.kinds.postgres.resets.baseline_swap import baseline_name
from envctl.kinds.postgres.resets.resetter import Resetter
from envctl.kinds.postgres.resets.tracking import instrument
from envctl.kinds.redis import baseline
from envctl.kinds.redis import proof as redis_proof
from envctl.model import Connection, ResetReport

_POSTGRES, _REDIS = "postgres", "redis"
_COPY_LIMIT_S = 600.0
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"
_OWN_SUFFIX = r"_(w\d+(_t\d+)?|template\d*|baseline|new_.*)(_spare\d|_old)?"


def create(
    selection: Selection, name: str | None = None, *, service: str | None = None, replace: bool = False
) -> Connection:
    """A database of one's own.

    Args:
        selection: Which environment.
        name: Its name; None for one that nobody else has.
        service: Which Postgres or Redis; None for the first Postgres.
        replace: Whether one of that name which was made here goes first.

    Raises:
        UsageError: No database may be called so.
        NotOurs: One of that name is there, and was not made here.
        ForeignServer: What answers is not the environment's own server.
        DataFailed: One is there and is not to be replaced, or it could not be made.
        EnvctlError: There is no such environment or service, or its data is not to be used.
    """
    place = open_place(selection)
    found = place.required()
    base = _proven(found, service)
    if base.kind == _REDIS:
        return Numbers(place, found, base).create(name, *_maker(place, found), replace=replace)
    if name is None:
        name = own_name(base.database or "", f"_{os.urandom(4).hex()}")
    _check_name(name, base)
    databases = Databases(base, _COPY_LIMIT_S, stays=True)
    try:
        _sweep(place, databases)
        return lent.create(
            databases, source(place, base, databases), name, lent.note(*_maker(place, found)), replace=replace
        )
    finally:
        databases.close()


def drop(selection: Selection, names: Sequence[str], *, service: str | None = None) -> list[str]:
    """Remove databases that were made here, all or, where one was not, none; those that were there.

    Raises:
        NotOurs: One of them was not made here.
        EnvctlError: There is no such environment or service, or they could not be removed.
    """
    place = open_place(selection)
    found = place.required()
    base = _proven(found, service)
    return Numbers(place, found, base).drop(names) if base.kind == _REDIS else lent.drop(Databases(base), tuple(names))


class Resetting:
    """Puts databases that were made here back to what they held when they were new, again and again.

    Args:
        selection: Which environment.
        service: Which Postgres or Redis; None for the first Postgres, or whichever is named with a database.

    Raises:
        EnvctlError: There is no such environment or service.
    """

    def __init__(self, selection: Selection, *, service: str | None = None) -> None:
        self._place = open_place(selection)
        self._found, self._service = self._place.required(), service
        self._resetters: dict[tuple[str | None, str], Resets] = {}
        if service:
            _service(self._found, service)

    def __enter__(self) -> Resetting:
        return self

    def __exit__(self, *_: object) -> None:
        for resetter in self._resetters.values():
            resetter.close()

    def reset(self, name: str, *, service: str | None = None) -> ResetReport:
        """Put one back.

        Args:
            name: The database.
            service: Of which service; None for the one that is meant otherwise.

        Raises:
            ServiceNotFound: There is no such service.
            NotOurs: It was not made here.
            DataFailed: It is not there, or it could not be done; nothing was changed.
        """
        which = (service or self._service, name)
        if which not in self._resetters:
            self._resetters[which] = self._resetter(*which)
        return self._resetters[which].reset()

    def _resetter(self, service: str | None, name: str) -> Resets:
        base = _proven(self._found, service)
        if base.kind == _REDIS:
            return baseline.Resetter(Numbers(self._place, self._found, base).find(name))
        lent.check_ours(Databases(base), name, "reset")
        return Resetter(connection_to(base, name))


class Listed(NamedTuple):
    """A database that was made here.

    Attributes:
        service: Of which service.
        name: Its name.
        database: How its URL names it: of Redis, its number.
        made_for: What for, in words.
        session: The session it was made in, or "".
        size_bytes: What it takes on disk; None where that is not known.
        connections: How many sessions it has; None where that is not known.
    """

    service: str
    name: str
    database: str
    made_for: str
    session: str
    size_bytes: int | None = None
    connections: int | None = None


def lent_out(selection: Selection, *, service: str | None = None) -> list[Listed]:
    """The databases that envctl has made beside the environment's own, of one service or of all. Raises EnvctlError."""
    place = open_place(selection)
    found = place.required()
    chosen = [_service(found, service)] if service else record.connections(found).values()
    listed: list[Listed] = []
    for base in chosen:
        if base.kind == _POSTGRES:
            listed += [Listed(base.service, one.name, one.name, *one[1:]) for one in lent.known(Databases(base))]
        elif base.kind == _REDIS:
            for number, own in Numbers(place, found, base).all():
                listed.append(Listed(base.service, number.name, own.database or "", number.made_for, number.session))
    return listed


def _service(found: EnvironmentRecord, service: str | None) -> Connection:
    """The service that is meant.

    Args:
        found: The environment.
        service: Its name, or a kind for the first of that; None for the first Postgres.

    Raises:
        ServiceNotFound: There is none.
        Unsupported: The service is of another kind.
    """
    known = record.connections(found)
    kind = service or _POSTGRES
    wanted = known.get(kind) or next((one for one in known.values() if one.kind == kind), None)
    if wanted is None:
        what = f"service of kind {kind}" if kind in (_POSTGRES, _REDIS) else f'service "{service}"'
        cause = f"its services are: {', '.join(known)}"
        raise ServiceNotFound(f"environment {found.identity.name} has no {what}", cause=cause)
    if wanted.kind not in (_POSTGRES, _REDIS):
        message = f'service "{wanted.service}" is of kind {wanted.kind}, and has no databases to be made'
        raise Unsupported(message, fix=["name a Postgres or a Redis, or leave --service out"])
    return wanted


def _proven(found: EnvironmentRecord, service: str | None) -> Connection:
    """As `_service`, whose server has proven to be the environment's own. Raises ForeignServer, too."""
    base = _service(found, service)
    (redis_proof if base.kind == _REDIS else postgres_proof).prove(base)
    return base


def source(place: Place, base: Connection, databases: Databases) -> Callable[[str], object]:
    """What makes a database of a name: a clone of the baseline where there is one, else a copy of what is there now."""
    sealed = baseline_name(base.database or "")
    if databases.exists(sealed):
        return partial(databases.clone, sealed)

    def ask(command: Sequence[str]) -> tuple[int, str]:
        return inside.answer(place, base.service, command, _COPY_LIMIT_S)

    def copied(name: str) -> None:
        # So that it can be put back; where only a whole copy would do, there has to be a baseline by then.
        instrument(databases.make_template(name, ask), sealed, "auto")

    return copied


def variables(selection: Selection, replaced: Mapping[str, Connection]) -> dict[str, str]:
    """The variables of the environment that are others where services are reached by other connections.

    Args:
        selection: Which environment.
        replaced: Connections, by service.

    Raises:
        EnvctlError: There is no such environment, or its configuration cannot be read.
    """
    from envctl.plan.variables import variables as computed

    place = open_place(selection)
    found = place.required()
    known = record.connections(found)
    about = (found.identity, found.stack.engine, place.spec)
    before = computed(*about, known)
    after = computed(*about, known | dict(replaced))
    return {name: value for name, value in after.items() if before.get(name) != value}


def _check_name(name: str, base: Connection) -> None:
    if not re.fullmatch(_NAME, name) or name.startswith("pg_"):
        fix = ["use letters, digits, `_`, `-` and `.`, 63 at most"]
        raise UsageError(f"no database is called {name!r} by envctl", fix=fix, subject={"database": name})
    own = base.database or ""
    if any(re.fullmatch(re.escape(one) + _OWN_SUFFIX, name) for one in (slots.short(own), own_name(own, ""), own)):
        raise UsageError(
            f"{name!r} is a name that test runs give to their own databases, and remove",
            fix=["choose another name"],
            subject={"database": name},
        )


def _maker(place: Place, found: EnvironmentRecord) -> tuple[str, str]:
    """For whom, in words, and in which session: where the caller is in one of the environment, for that."""
    own = place.selection.environ.get(SESSION_VARIABLE, "")
    mine = ((str(one), own) for one in found.sessions if one.id == own)
    return next(mine, ("envctl db create", ""))


def _sweep(place: Place, databases: Databases) -> None:
    """Remove what was made in sessions that have ended."""
    made_in = {one.name: one.session for one in lent.known(databases) if one.session}
    lives = {session: place.registry.find_session(session) is not None for session in set(made_in.values())}
    databases.drop(*[name for name, session in made_in.items() if not lives[session]])
