"""A copy of a database that somebody is connected to: dumped and read back by Postgres' own programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from envctl.errors import DataFailed
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.model import Connection

Inside: TypeAlias = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program where the server is: its exit code, and all it said."""

_SHOWN_LINES = 8

# A dump that ends in the middle must not pass for a whole one: then the last word is an error, which takes all back.
_SCRIPT = r"""
[ -n "${PGPASSWORD:-}" ] || PGPASSWORD=$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")
export PGPASSWORD
{ pg_dump -w --lock-wait-timeout=20s -U "$1" -d "$2" || printf '\n\\.\n\\pg_dump failed\n'; } |
    psql -w -U "$1" -d "$3" -q -X -o /dev/null -v ON_ERROR_STOP=1 --single-transaction
"""


def copy(session: Client, base: Connection, name: str, inside: Inside) -> None:
    """Make database `name` and fill it with what `base` holds.

    Raises:
        ServerError: The database cannot be made.
        DataFailed: It could not be filled; it is not there then.
    """
    session.rows(f"CREATE DATABASE {identifier(name)} TEMPLATE template0")
    try:
        _fill(base, name, inside)
    except BaseException:
        session.rows(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
        raise


def _fill(base: Connection, name: str, inside: Inside) -> None:
    try:
        code, said = inside(["sh", "-c", _SCRIPT, "envctl", base.user or "", base.database or "", name])
    except TimeoutError:
        code, said = 1, "pg_dump took too long"
    if code:
        raise DataFailed(
            f'cannot copy database "{base.database}" to "{name}"',
            cause="somebody is connected to it, so it was dumped and read back, which failed",
            evidence=said.strip().splitlines()[-_SHOWN_LINES:],
            subject={"service": base.service, "database": base.database},
        )
