"""Databases that are ready before they are asked for: a test gets one in the time of a look.

A thread makes them, clones of one template, while tests run. What is given back is put right and used again, in a
third of the time of a clone, under a new name: whoever still has the old one's address reaches nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.postgres.data import Databases
from envctl.model import Connection

_WAIT_LIMIT_S = 120.0
_MOST_SPARE = 3
_LARGE_S = 1.0
"""A clone that takes longer is of a large database: then no more than one is kept ready."""


class _Ready(NamedTuple):
    """A database that holds what the template holds; `nature` is what was true of it outside when it was new."""

    connection: Connection
    nature: str


class Pool:
    """Databases cloned from a template, for one process.

    One is kept ready from the first `take` on, and one more each time somebody had to wait, up to three.

    Args:
        base: The environment's own database.
        template: The template's name; nobody is connected to it.
        prefix: What their names begin with; a number follows.
        put_back: Has a clone hold again what the template holds; whether it could, if not a new one is made.
    """

    def __init__(self, base: Connection, template: str, prefix: str, put_back: Callable[[Connection], bool]) -> None:
        self._template, self._prefix, self._put_back = template, prefix, put_back
        self._databases = Databases(base, stays=True)  # the thread's alone
        self._changed = threading.Condition()
        self._ready: deque[_Ready] = deque()
        self._returned: deque[_Ready] = deque()
        self._lent: dict[str, _Ready] = {}
        self._unsure: list[str] = []  # names of what may be there, after something failed
        self._made = 0
        self._spare, self._waiting, self._clone_s = 1, 0, 0.0
        self._failure: BaseException | None = None
        self._paused = False  # something failed while nobody waited: it is tried again when somebody does
        self._stopping = False
        self._thread: threading.Thread | None = None

    def take(self) -> Connection:
        """A database that nobody else has.

        Raises:
            DataFailed: None could be made.
        """
        with self._changed:
            self._begin()
            if not self._ready:
                self._wait()
            held = self._ready.popleft()
            self._lent[held.connection.database or ""] = held
            self._changed.notify_all()
        return held.connection

    def give_back(self, made: Connection) -> None:
        """It is no longer used. Returns at once."""
        with self._changed:
            if held := self._lent.pop(made.database or "", None):
                self._returned.append(held)
                self._changed.notify_all()

    def close(self, *, drop: bool = True) -> None:
        """End the thread, and remove the databases that are not lent.

        Args:
            drop: Whether they are removed at all; not where their server goes anyway.

        Raises:
            DataFailed: They could not be removed.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        try:
            if drop:
                held = [one.connection.database or "" for one in (*self._ready, *self._returned)]
                self._drop(*held, *self._unsure)
        finally:
            self._databases.close()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="envctl-pool", daemon=True)
            self._thread.start()
        elif not self._ready and self._clone_s < _LARGE_S:
            self._spare = min(self._spare + 1, _MOST_SPARE)

    def _wait(self) -> None:
        self._waiting += 1
        self._paused = False
        self._changed.notify_all()
        try:
            self._changed.wait_for(lambda: self._ready or self._failure, _WAIT_LIMIT_S)
            failure, self._failure = self._failure, None
        finally:
            self._waiting -= 1
        if not self._ready:
            raise failure or DataFailed(
                f'no copy of template "{self._template}" was made within {_WAIT_LIMIT_S:g} s',
                fix=["envctl status shows whether the server answers"],
            )

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                made = self._done(work)
            except Exception as error:  # noqa: BLE001 - raised where somebody waits for a database
                with self._changed:
                    self._failure = error if self._waiting else None
                    self._paused = not self._waiting
                    self._changed.notify_all()
                continue
            with self._changed:
                self._ready.append(made)
                self._changed.notify_all()

    def _next(self) -> Callable[[], _Ready] | None:
        """What is to be done next; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._wanted())
            if self._stopping:
                return None
            if self._returned:
                held = self._returned.popleft()
                return lambda: self._recycled(held)
            return self._cloned

    def _wanted(self) -> bool:
        if self._failure is not None or self._paused:
            return False
        return bool(self._returned) or len(self._ready) < self._spare + self._waiting

    def _done(self, work: Callable[[], _Ready]) -> _Ready:
        """Do it; again where a test has sent our session away, with all others."""
        for attempt in (work, self._cloned, self._cloned):
            try:
                return attempt()
            except DataFailed as error:
                self._databases.close()
                failure = error
        raise failure

    def _cloned(self) -> _Ready:
        began_s = clock.monotonic_s()
        name = self._name()
        self._unsure.append(name)
        made = self._databases.clone(self._template, name)
        nature = self._databases.nature(name)
        self._unsure.remove(name)
        self._clone_s = clock.monotonic_s() - began_s
        return _Ready(made, nature)

    def _recycled(self, held: _Ready) -> _Ready:
        """The same database with the template's content, under a new name; another one where it was changed outside."""
        old, new = held.connection.database or "", self._name()
        self._unsure += [old, new]
        if self._databases.nature(old) == held.nature:
            made = self._databases.rename(old, new)
            self._unsure.remove(old)
            if self._put_back(made):
                self._unsure.remove(new)
                return _Ready(made, held.nature)
        self._drop(*self._unsure)
        self._unsure.clear()
        return self._cloned()

    def _drop(self, *names: str) -> None:
        try:
            self._databases.drop(*names)
        except DataFailed:  # our session may have been sent away
            self._databases.drop(*names)

    def _name(self) -> str:
        self._made += 1
        return f"{self._prefix}{self._made}"
