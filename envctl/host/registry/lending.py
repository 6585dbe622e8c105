"""Numbers that are given away in an environment beside the slots of sessions: those of logical databases of Redis."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from envctl.host.registry.using import Using


class LentNumber(NamedTuple):
    """A number, and who has it.

    Attributes:
        number: From 1 on.
        name: What it is called by; no other of the service is called so.
        made_for: What for, in words.
        session: The session it was taken in, with whose end it is free again; "" where it stays until it is given back.
    """

    number: int
    name: str
    made_for: str
    session: str = ""


class Lending(Using):
    """The numbers of one registry. Each method is one short transaction."""

    def lend(
        self, environment: str, service: str, most: int, *, name: str | None, made_for: str, session: str
    ) -> tuple[LentNumber, bool]:
        """A number that nobody else has: the largest one, since slots begin with the smallest.

        Numbers of sessions that have ended are free.

        Args:
            environment: The environment's name.
            service: Whose numbers they are.
            most: The largest there is.
            name: What it is to be called by; None for the number itself.
            made_for: What for, in words.
            session: The session it is for, or "".

        Returns:
            The number, and whether it was taken now; one of this name that is there is returned as it is.

        Raises:
            LookupError: All are taken.
        """
        with self._store.transaction(write=True) as connection:
            connection.execute(
                "DELETE FROM lent_numbers WHERE environment = ? AND session <> ''"
                " AND session NOT IN (SELECT id FROM sessions)",
                (environment,),
            )
            known = _lent(connection, environment, service)
            if there := next((one for one in known if one.name == name), None):
                return there, False
            taken = {one.number for one in known} | _slots(connection, environment)
            number = next((number for number in range(most, 0, -1) if number not in taken), None)
            if number is None:
                raise LookupError(service)
            made = LentNumber(number, name or str(number), made_for, session)
            connection.execute(
                "INSERT INTO lent_numbers (environment, service, number, name, made_for, session)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (environment, service, *made),
            )
            return made, True

    def lent(self, environment: str, service: str) -> list[LentNumber]:
        """The numbers that are given away, by name."""
        with self._store.transaction(write=False) as connection:
            return _lent(connection, environment, service)

    def give_back(self, environment: str, service: str, number: int) -> None:
        """Somebody else may have the number; again does nothing."""
        with self._store.transaction(write=True) as connection:
            connection.execute(
                "DELETE FROM lent_numbers WHERE environment = ? AND service = ? AND number = ?",
                (environment, service, number),
            )


def _lent(connection: sqlite3.Connection, environment: str, service: str) -> list[LentNumber]:
    rows = connection.execute(
        "SELECT number, name, made_for, session FROM lent_numbers WHERE environment = ? AND service = ? ORDER BY name",
        (environment, service),
    )
    return [LentNumber(*row) for row in rows]


def _slots(connection: sqlite3.Connection, environment: str) -> set[int]:
    return {
        row["slot"] for row in connection.execute("SELECT slot FROM sessions WHERE environment = ?", (environment,))
    }
