"""Databases beside the environment's own, for whoever asks: a worker, a test, a program of any language.

Each is a copy of the baseline, where the environment was seeded; else of what its own database holds now. One that was
made in a session (`envctl run`, a process of `up --while-pid`) is removed after that, by whoever makes the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from envctl.conductor import inside, record
from envctl.conductor.place import SESSION_VARIABLE, Place, Selection, open_place
from envctl.errors import ServiceNotFound, Unsupported, UsageError
from envctl.host.registry import EnvironmentRecord
from envctl.kinds.postgres import proof
from envctl.kinds.postgres.data import Databases, connection_to, own_name
from envctl.kinds.postgres.databases import lent, slots
from envctl.kinds.postgres.databases.lent import Lent
from envctl.kinds.postgres.resets.baseline_swap import baseline_name
from envctl.kinds.postgres.resets.resetter import Resetter
from envctl.kinds.postgres.resets.tracking import instrument
from envctl.model import Connection, ResetReport

_KIND = "postgres"
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
        service: Which Postgres; None for the first.
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
    if name is None:
        name = own_name(base.database or "", f"_{os.urandom(4).hex()}")
    _check_name(name, base)
    databases = Databases(base, _COPY_LIMIT_S, stays=True)
    try:
        _sweep(place, databases)
        return lent.create(databases, source(place, base, databases), name, _note(place, found), replace=replace)
    finally:
        databases.close()


def drop(selection: Selection, names: Sequence[str], *, service: str | None = None) -> list[str]:
    """Remove databases that were made here, all or, where one was not, none; those that were there.

    Raises:
        NotOurs: One of them was not made here.
        EnvctlError: There is no such environment or service, or they could not be removed.
    """
    base = _proven(open_place(selection).required(), service)
    return lent.drop(Databases(base), tuple(names))


class Resetting:
    """Puts databases that were made here back to what they held when they were new, again and again.

    Args:
        selection: Which environment.
        service: Which Postgres; None for the first.

    Raises:
        EnvctlError: There is no such environment or service.
    """

    def __init__(self, selection: Selection, *, service: str | None = None) -> None:
        self._base = _proven(open_place(selection).required(), service)
        self._resetters: dict[str, Resetter] = {}

    def __enter__(self) -> Resetting:
        return self

    def __exit__(self, *_: object) -> None:
        for resetter in self._resetters.values():
            resetter.close()

    def reset(self, name: str) -> ResetReport:
        """Put one back.

        Raises:
            NotOurs: It was not made here.
            DataFailed: It is not there, or it could not be done; nothing was changed.
        """
        if name not in self._resetters:
            lent.check_ours(Databases(self._base), name, "reset")
            self._resetters[name] = Resetter(connection_to(self._base, name))
        return self._resetters[name].reset()


def lent_out(selection: Selection, *, service: str | None = None) -> list[Lent]:
    """The databases that envctl has made beside the environment's own. Raises EnvctlError."""
    return lent.known(Databases(postgres(open_place(selection).required(), service)))


def postgres(found: EnvironmentRecord, service: str | None) -> Connection:
    """The Postgres that is meant.

    Args:
        found: The environment.
        service: Its name, or None for the first one.

    Raises:
        ServiceNotFound: There is none.
        Unsupported: The service is of another kind.
    """
    known = record.connections(found)
    wanted = known.get(service) if service else next((one for one in known.values() if one.kind == _KIND), None)
    if wanted is None:
        what = f'service "{service}"' if service else f"service of kind {_KIND}"
        cause = f"its services are: {', '.join(known)}"
        raise ServiceNotFound(f"environment {found.identity.name} has no {what}", cause=cause)
    if wanted.kind != _KIND:
        message = f'service "{wanted.service}" is of kind {wanted.kind}, and only Postgres has databases to be made'
        raise Unsupported(message, fix=[f"name one of kind {_KIND}, or leave --service out"])
    return wanted


def _proven(found: EnvironmentRecord, service: str | None) -> Connection:
    """As `postgres`, whose server has proven to be the environment's own. Raises ForeignServer, too."""
    base = postgres(found, service)
    proof.prove(base)
    return base


def source(place: Place, base: Connection, databases: Databases) -> Callable[[str], object]:
    """What makes a database of a name: a clone of the baseline where there is one, else a copy of what is there now."""
    baseline = baseline_name(base.database or "")
    if databases.exists(baseline):
        return partial(databases.clone, baseline)

    def ask(command: Sequence[str]) -> tuple[int, str]:
        return inside.answer(place, base.service, command, _COPY_LIMIT_S)

    def copied(name: str) -> None:
        # So that it can be put back; where only a whole copy would do, there has to be a baseline by then.
        instrument(databases.make_template(name, ask), baseline, "auto")

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


def _note(place: Place, found: EnvironmentRecord) -> str:
    """For whom: where the caller is in a session of the environment, for that."""
    own = place.selection.environ.get(SESSION_VARIABLE, "")
    mine = (lent.note(str(one), own) for one in found.sessions if one.id == own)
    return next(mine, lent.note("envctl db create"))


def _sweep(place: Place, databases: Databases) -> None:
    """Remove what was made in sessions that have ended."""
    made_in = {one.name: one.session for one in lent.known(databases) if one.session}
    lives = {session: place.registry.find_session(session) is not None for session in set(made_in.values())}
    databases.drop(*[name for name, session in made_in.items() if not lives[session]])
