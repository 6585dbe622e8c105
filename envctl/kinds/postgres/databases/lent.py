"""Databases that are made for whoever asks, and known again by their comment.

A database whose name stands there without such a comment is somebody else's: it is neither replaced nor removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from envctl.errors import DataFailed, NotOurs
from envctl.kinds.postgres.data import Databases, own_name
from envctl.model import Connection

_MARK = "envctl: "


class Lent(NamedTuple):
    """A database that envctl has made beside the environment's own.

    Attributes:
        name: Its name.
        made_for: What for, in words.
        session: The session it was made in, or "".
        size_bytes: What it takes on disk.
        connections: How many sessions it has.
    """

    name: str
    made_for: str
    session: str = ""
    size_bytes: int = 0
    connections: int = 0


def note(made_for: str, session: str = "") -> str:
    """What is written down of a database, as its comment."""
    return _MARK + json.dumps({"for": made_for, "session": session})


def known(databases: Databases) -> list[Lent]:
    """Those there are, by name. Raises DataFailed."""
    return [
        Lent(name or "", *_read(text or ""), int(size or 0), int(connections or 0))
        for name, text, size, connections in databases.commented(_MARK)
    ]


def create(databases: Databases, make: Callable[[str], object], name: str, text: str, *, replace: bool) -> Connection:
    """A database that `make` makes; whoever sees its name sees its comment as well.

    Args:
        databases: The server's.
        make: Makes the database of the name it is given.
        name: The name it has in the end.
        text: Its comment, from `note`.
        replace: Whether one of that name goes first.

    Raises:
        NotOurs: One of that name is there, and was not made by envctl.
        DataFailed: One is there and is not to be replaced, or it could not be made.
    """
    _check(databases, name, replace=replace)
    half_made = own_name(name, f"_new_{sha256(name.encode()).hexdigest()[:10]}")
    with databases.alone(f"envctl db {name}"):
        databases.drop(half_made)  # of somebody who was killed
        make(half_made)
        databases.describe(half_made, text)
        _check(databases, name, replace=replace)
        databases.drop(name)
        return databases.rename(half_made, name)


def drop(databases: Databases, names: tuple[str, ...]) -> list[str]:
    """Remove databases, all or, where one is not ours, none; those that were there.

    Raises:
        NotOurs: One of them was not made by envctl.
        DataFailed: They could not be removed.
    """
    there = [name for name in names if databases.exists(name)]
    for name in there:
        check_ours(databases, name, "removed")
    databases.drop(*there)
    return there


def check_ours(databases: Databases, name: str, done: str) -> None:
    """Prove that envctl has made a database, before something is done to it: "removed". Raises NotOurs, DataFailed."""
    if name not in {one.name for one in known(databases)}:
        raise _not_ours(name, done)


def _check(databases: Databases, name: str, *, replace: bool) -> None:
    if not databases.exists(name):
        return
    check_ours(databases, name, "replaced")
    if not replace:
        raise DataFailed(
            f'there is a database "{name}" already',
            fix=[f"envctl db create --replace {name}", f"or remove it: envctl db drop {name}"],
            subject={"database": name},
            state="unchanged",
        )


def _not_ours(name: str, done: str) -> NotOurs:
    return NotOurs(
        f'database "{name}" was not made by `envctl db create`, so it is not {done}',
        fix=["envctl db ls shows those that were", "choose another name"],
        subject={"database": name},
        state="unchanged",
    )


def _read(text: str) -> tuple[str, str]:
    try:
        noted = json.loads(text.removeprefix(_MARK))
        return str(noted["for"]), str(noted["session"])
    except (ValueError, KeyError, TypeError):
        return text.removeprefix(_MARK), ""
