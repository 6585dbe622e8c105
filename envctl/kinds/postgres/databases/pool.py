"""Databases that are ready before they are asked for: a test gets one in the time of a look.

While tests run, one thread makes them, clones of one template; another one puts back what is given back, so that it
is used again, in a tenth of the time of a clone. It gets a new name: whoever still has the old one's address reaches
nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TypeVar

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.postgres.data import Databases
from envctl.kinds.postgres.databases.in_place import Copy
from envctl.model import Connection

_Done = TypeVar("_Done")

_WAIT_LIMIT_S = 120.0
_MOST_SPARE = 3
_ATTEMPTS = 3
_FIRST_S = 0.25
"""For so long after its first database a process makes none ahead: the first ones of others come before."""
_LARGE_S = 1.0
"""A clone that takes longer is of a large database: then no more than one is kept ready."""


class Pool:
    """Databases cloned from a template, for one process.

    One is kept ready from the first `take` on. It is one more, up to three, each time somebody had to wait because
    others were not put back yet.

    Args:
        base: The environment's own database.
        template: The template's name; nobody is connected to it.
        prefix: What their names begin with; a number follows.
        again: Whether what is given back is put back and used again, where that can be done; else new ones are made.
    """

    def __init__(self, base: Connection, template: str, prefix: str, *, again: bool = True) -> None:
        self._template, self._prefix, self._again = template, prefix, again
        self._databases = Databases(base, stays=True)  # for the thread that makes them
        self._changed = threading.Condition()
        self._ready: deque[Copy] = deque()
        self._returned: deque[Copy] = deque()  # the first one is being put back
        self._lent: dict[str, Copy] = {}
        self._useless: list[str] = []  # names of what may be there, and is to go
        self._stuck: list[str] = []  # what could not be removed: that is tried again at the end
        self._numbers = count(1)
        self._spare, self._waiting, self._clone_s = 1, 0, 0.0
        self._failure: BaseException | None = None
        self._paused = False  # something failed while nobody waited: it is tried again when somebody does
        self._stopping = False
        self._threads: list[threading.Thread] = []

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
            self._lent[held.name] = held
            self._changed.notify_all()
        return held.connection

    def give_back(self, made: Connection) -> None:
        """It is no longer used. Returns at once."""
        with self._changed:
            if held := self._lent.pop(made.database or "", None):
                self._returned.append(held)
                self._changed.notify_all()

    def close(self, *, drop: bool = True) -> None:
        """End the threads, and remove the databases that are not lent.

        Args:
            drop: Whether they are removed at all; not where their server goes anyway.

        Raises:
            DataFailed: They could not be removed.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for held in (*self._ready, *self._returned, *self._lent.values()):
            held.close()
        try:
            if drop:
                held_still = [held.name for held in (*self._ready, *self._returned)]
                self._drop(*held_still, *self._useless, *self._stuck)
        finally:
            self._databases.close()

    def _begin(self) -> None:
        if not self._threads:
            for work in (self._make, self._put_back):
                self._threads.append(threading.Thread(target=work, name="envctl-pool", daemon=True))
                self._threads[-1].start()
        elif not self._ready and not self._lacking() and self._clone_s < _LARGE_S:
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

    def _next(self, due: Callable[[], object]) -> bool:
        """Wait until something is to be done; whether it still is: not at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or due())
            return not self._stopping

    # -- the thread that makes them --------------------------------------------------------------------------------

    def _make(self) -> None:
        while self._next(self._due):
            try:
                if self._lacking():
                    self._clone()
                self._tidy()
            except Exception as error:  # noqa: BLE001 - raised where somebody waits for a database
                with self._changed:
                    self._failure = error if self._waiting else None
                    self._paused = not self._waiting
                    self._changed.notify_all()

    def _due(self) -> bool:
        return self._failure is None and not self._paused and (self._lacking() or bool(self._useless))

    def _lacking(self) -> bool:
        return len(self._ready) + len(self._returned) < self._spare + self._waiting

    def _clone(self) -> None:
        began_s, is_first = clock.monotonic_s(), not self._clone_s
        made = self._tried(self._copy)
        self._clone_s = clock.monotonic_s() - began_s
        with self._changed:
            self._ready.append(made)
            self._changed.notify_all()
            if is_first:
                self._changed.wait_for(lambda: self._stopping or self._waiting > len(self._ready), _FIRST_S)

    def _copy(self) -> Copy:
        name = self._name()
        try:
            return Copy(self._databases.clone(self._template, name), self._databases.nature(name))
        except DataFailed:
            with self._changed:
                self._useless.append(name)
            raise

    def _tidy(self) -> None:
        with self._changed:
            names, self._useless = self._useless, []
        try:
            self._drop(*names)
        except DataFailed:
            self._stuck += names

    def _drop(self, *names: str) -> None:
        self._tried(lambda: self._databases.drop(*names))

    def _tried(self, act: Callable[[], _Done]) -> _Done:
        """Do it; again where a test has sent our session away, with all others."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(DataFailed):
                return act()
        return act()

    def _name(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"

    # -- the thread that puts them back ----------------------------------------------------------------------------

    def _put_back(self) -> None:
        while self._next(lambda: self._returned):
            held, name = self._returned[0], self._name()
            names = (held.name, name)
            done = self._again and held.put_back(name)
            with self._changed:
                self._returned.popleft()
                if done:
                    self._ready.append(held)
                else:
                    self._useless += names
                self._changed.notify_all()
