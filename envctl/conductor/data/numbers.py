"""Logical databases of Redis that are lent to whoever asks: each holds the baseline at the beginning, or nothing.

The registry knows who has which number, so none is the slot of a session as well. A number that was taken in a session
is free after that; who gets it next finds the baseline in it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from envctl.conductor.place import Place
from envctl.errors import DataFailed, NotOurs, UsageError
from envctl.host.registry import EnvironmentRecord, LentNumber
from envctl.kinds.redis import data
from envctl.model import Connection

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,62}"


class Numbers:
    """Those of one service.

    Args:
        place: Where we stand.
        found: The environment.
        base: The environment's own database.
    """

    def __init__(self, place: Place, found: EnvironmentRecord, base: Connection) -> None:
        self._registry, self._environment, self._base = place.registry, found.identity.name, base

    def create(self, name: str | None, made_for: str, session: str, *, replace: bool) -> Connection:
        """One that nobody else has.

        Args:
            name: What it is called by; None for its number.
            made_for: What for, in words.
            session: The session it is for, or "".
            replace: Whether one of that name is put back and handed out again.

        Raises:
            UsageError: None may be called so.
            DataFailed: One is there and is not to be put back, all are taken, or the server does not answer.
        """
        if name is not None and not re.fullmatch(_NAME, name):
            fix = ["begin with a letter; then letters, digits, `_`, `-` and `.`, 63 at most"]
            raise UsageError(f"no database of Redis is called {name!r} by envctl", fix=fix, subject={"database": name})
        taken, is_new = self._lend(name, made_for, session)
        if not is_new and not replace:
            which = f"--service {self._base.service}"
            raise DataFailed(
                f'there is a database "{name}" already',
                fix=[f"envctl db create {which} --replace {name}", f"or remove it: envctl db drop {which} {name}"],
                subject={"database": name, "service": self._base.service},
                state="unchanged",
            )
        try:
            return data.begin(self._own(taken))
        except BaseException:
            if is_new:
                self._registry.give_back(self._environment, self._base.service, taken.number)
            raise

    def _lend(self, name: str | None, made_for: str, session: str) -> tuple[LentNumber, bool]:
        which = (self._environment, self._base.service, data.MOST)
        try:
            return self._registry.lend(*which, name=name, made_for=made_for, session=session)
        except LookupError:
            raise self._all_taken() from None

    def find(self, name: str) -> Connection:
        """One that is to be reset, by its name, or its number as it stands in its URL. Raises NotOurs."""
        if (known := self._known(name)) is not None:
            return self._own(known)
        service = self._base.service
        raise NotOurs(
            f'database "{name}" of "{service}" was not made by `envctl db create`, so it is not reset',
            fix=[f"envctl db ls --service {service} shows those that were"],
            subject={"database": name, "service": service},
            state="unchanged",
        )

    def drop(self, names: Sequence[str]) -> list[str]:
        """Empty those of these names and numbers, and give them back; those there were. Raises DataFailed."""
        dropped = []
        for name in names:
            if (known := self._known(name)) is not None:
                data.flush(self._own(known))
                self._registry.give_back(self._environment, self._base.service, known.number)
                dropped.append(name)
        return dropped

    def all(self) -> list[tuple[LentNumber, Connection]]:
        """Those there are, by name."""
        return [(one, self._own(one)) for one in self._registry.lent(self._environment, self._base.service)]

    def _known(self, name: str) -> LentNumber | None:
        return next((one for one, own in self.all() if name in (one.name, own.database)), None)

    def _own(self, lent: LentNumber) -> Connection:
        return data.own_database(self._base, lent.number)

    def _all_taken(self) -> DataFailed:
        service = self._base.service
        return DataFailed(
            f'all databases of "{service}" are taken',
            cause=f"it has {data.MOST} beside the environment's own, for test runs, workers and `envctl db create`",
            fix=[f"envctl db ls --service {service} shows those that were made so; envctl db drop gives one back"],
            subject={"service": service},
            state="unchanged",
        )
