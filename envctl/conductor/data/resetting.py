"""Putting the data of an environment's services back to their baselines, as often as is asked.

The way that is taken between tests is short: one look at the registry, and one word to each server, over connections
that stay open. Only what is dirty, or being made, is waited for and put right under the environment's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from envctl import kinds
from envctl.conductor import inside, live, record
from envctl.conductor.data import dirty, provenance
from envctl.conductor.place import Place, Selection, open_place
from envctl.errors import NoBaseline, ServiceNotFound, Unsupported
from envctl.host import clock, locks
from envctl.model import Connection, EnvironmentState, ResetReport, ResetStrategy

if TYPE_CHECKING:
    from envctl.host.registry import EnvironmentRecord
    from envctl.kinds.contents import Resets

WAIT_S = 30.0

_COPY_LIMIT_S = 600.0
_BEING_MADE = {EnvironmentState.CREATING, EnvironmentState.REMOVING}
_SENDS_AWAY = "template"  # the strategy that ends the connections of whoever uses the database
_NEVER_TAKEN = "flush"  # the strategy of a reset that found no baseline, and nothing that says there was one


class Taken(NamedTuple):
    """A baseline that was taken.

    Attributes:
        service: Of which service.
        duration_ms: How long it took.
    """

    service: str
    duration_ms: float


class Resetting:
    """Resets of one environment. Several threads may use it, one after another.

    Args:
        selection: Which environment.
        timeout_s: How long to wait for another process that works on it, seconds; None for 30.
        on_wait: Is told who is waited for.
    """

    def __init__(
        self, selection: Selection, *, timeout_s: float | None = None, on_wait: Callable[[str], None] | None = None
    ) -> None:
        self._selection = selection
        self._timeout_s = WAIT_S if timeout_s is None else timeout_s
        self._on_wait = on_wait
        self._lock = RLock()
        self._pid = os.getpid()
        self._place: Place | None = None
        self._reach: dict[str, Connection] = {}
        self._resetters: dict[tuple[str, ResetStrategy | None], Resets] = {}

    def __enter__(self) -> Resetting:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections; a later reset makes new ones."""
        with self._lock:
            resetters, self._resetters = self._resetters, {}
            if self._pid == os.getpid():
                for resetter in resetters.values():
                    resetter.close()

    def reset(self, services: Sequence[str] = (), *, strategy: ResetStrategy | None = None) -> tuple[ResetReport, ...]:
        """Put services back to their baselines, one after another; each of them wholly or not at all.

        Args:
            services: Which; none for all that can be.
            strategy: How; None for what each is set to.

        Returns:
            What was done, by service, in the order of the configuration.

        Raises:
            EnvironmentNotFound: There is none.
            ServiceNotFound: There is no service of that name.
            Unsupported: A service's kind has nothing to go back to.
            ForeignServer: The server at a service's address is somebody else's.
            NoBaseline: Nothing was seeded, and no baseline was set.
            ResetBlocked: Somebody holds locks.
            DataFailed: A server failed.
            Busy: Another process works on the environment.
        """
        with self._lock:
            self._forget_parent()
            place = self._place = self._place or open_place(self._selection)
            found = place.required()
            if found.state not in _BEING_MADE and not dirty.is_dirty(found):
                return self._each(place, found, services, strategy)
            return self._put_right(place, services, strategy)

    def take(self, services: Sequence[str] = ()) -> tuple[Taken, ...]:
        """Have resets go back to what services hold now.

        Args:
            services: Which; none for all that hold data.

        Raises:
            DataDirty: What is there was left half changed.
            EnvctlError: As for `reset`.
        """
        with self._lock:
            self._forget_parent()
            place = self._place = self._place or open_place(self._selection)
            place.required()
            with self._locked(place, "envctl reset --new-baseline"):
                found = self._at_rest(place)
                dirty.refuse(found)
                reach = self._chosen(found, services)
                holding = [one for one in reach.values() if services or kinds.settling(one.kind) is not None]
                for connection in holding:
                    _prove(connection)
                return tuple(self._take(place, connection) for connection in holding)

    def _forget_parent(self) -> None:
        """In a process that was forked off, what is open is the parent's."""
        if self._pid != os.getpid():
            self._pid, self._place, self._reach, self._resetters = os.getpid(), None, {}, {}

    # -- the short way -------------------------------------------------------------------------------------------------

    def _each(
        self, place: Place, found: EnvironmentRecord, services: Sequence[str], strategy: ResetStrategy | None
    ) -> tuple[ResetReport, ...]:
        reports = {}
        reach = self._chosen(found, services)
        for name in sorted(reach, key=lambda name: kinds.settling(reach[name].kind) is not None):
            # Who holds no data goes first: sessions of tests that are over have no part in what is put back.
            reports[name] = self._resetter(reach[name], strategy).reset()
            if reports[name].strategy == _NEVER_TAKEN and _was_shaped(place, found, name):
                raise _lost(name)
        if any(one.strategy == _SENDS_AWAY for one in reports.values()):
            live.await_rejoined(place)
        return tuple(reports[name] for name in reach)

    def _chosen(self, found: EnvironmentRecord, services: Sequence[str]) -> dict[str, Connection]:
        """How to reach the services that are meant, in the order of the configuration."""
        reach = record.connections(found)
        if reach != self._reach:  # another address or password: the environment was made anew
            self.close()
            self._reach = reach
        for name in services:
            if name not in reach:
                raise _no_service(found, name, list(reach))
            if kinds.baselines(reach[name].kind) is None:
                raise _nothing_to_reset(found, reach[name])
        chosen = {
            name: connection
            for name, connection in reach.items()
            if (name in services if services else kinds.baselines(connection.kind) is not None)
        }
        if not chosen:
            raise _nothing_to_reset(found, None)
        return chosen

    def _resetter(self, connection: Connection, strategy: ResetStrategy | None) -> Resets:
        key = (connection.service, strategy)
        if key not in self._resetters:
            _prove(connection)
            baselines = kinds.baselines(connection.kind)
            assert baselines is not None  # noqa: S101 - only such services are chosen
            self._resetters[key] = baselines.Resetter(connection, strategy)
        return self._resetters[key]

    # -- under the lock ------------------------------------------------------------------------------------------------

    def _put_right(
        self, place: Place, services: Sequence[str], strategy: ResetStrategy | None
    ) -> tuple[ResetReport, ...]:
        with self._locked(place, "envctl reset"):
            found = self._at_rest(place)
            if not dirty.is_dirty(found):
                return self._each(place, found, services, strategy)
            names = [*self._chosen(found, services)] if services else []
            dirty.recover(found)
            with dirty.while_changing(place, found, "envctl reset", names) as change:
                change.nothing_changed()  # what fails has changed nothing: it is as dirty as before
                return self._each(place, found, services, strategy)

    def _locked(self, place: Place, purpose: str) -> AbstractContextManager[locks.Lock]:
        return locks.environment_lock(
            place.state, place.lock_name, timeout_s=self._timeout_s, purpose=purpose, on_wait=self._on_wait
        )

    def _at_rest(self, place: Place) -> EnvironmentRecord:
        """The environment, now that nobody else works on it. Raises EnvironmentNotFound."""
        found = place.required()
        if found.state in _BEING_MADE:
            raise place.not_found(found)
        return found

    def _take(self, place: Place, connection: Connection) -> Taken:
        began_s = clock.monotonic_s()
        baselines = kinds.baselines(connection.kind)
        assert baselines is not None  # noqa: S101 - only such services are chosen
        self._drop(connection.service)
        wanted = place.spec.services.get(connection.service)
        ask = partial(_inside, place, connection.service)
        baselines.take(connection, wanted.reset if wanted else "auto", ask)
        return Taken(connection.service, (clock.monotonic_s() - began_s) * 1000)

    def _drop(self, service: str) -> None:
        """Let go of a service: what is open may know an older baseline."""
        for key in [key for key in self._resetters if key[0] == service]:
            self._resetters.pop(key).close()


def _inside(place: Place, service: str, command: Sequence[str]) -> tuple[int, str]:
    return inside.answer(place, service, command, _COPY_LIMIT_S)


def _prove(connection: Connection) -> None:
    if (proof := kinds.proof(connection.kind)) is not None:
        proof.prove(connection)


def _was_shaped(place: Place, found: EnvironmentRecord, name: str) -> bool:
    """Whether the service was seeded or migrated, so that there must be a baseline."""
    known = provenance.recorded(found)
    if not known.key or name in known.sources:
        return bool(known.key)
    wanted = place.spec.services.get(name)
    return wanted is not None and bool(wanted.migrate or wanted.seed)


def _lost(name: str) -> NoBaseline:
    return NoBaseline(
        f'service "{name}" has lost what it was seeded with, and its baseline',
        cause="its server was started again without its data",
        fix=["envctl up --fresh begins anew", f"or fill it, and then: envctl reset --new-baseline {name}"],
        subject={"service": name},
        state="what tests had left in it was removed",
    )


def _no_service(found: EnvironmentRecord, name: str, known: Sequence[str]) -> ServiceNotFound:
    return ServiceNotFound(
        f'environment {found.identity.name} has no service "{name}"',
        fix=[f"its services: {', '.join(known) or 'none'}"],
        subject={"service": name},
    )


def _nothing_to_reset(found: EnvironmentRecord, connection: Connection | None) -> Unsupported:
    known = ", ".join(name for name in kinds.names() if kinds.baselines(name) is not None)
    what = (
        f'service "{connection.service}" is of kind {connection.kind}, which has'
        if connection
        else f"environment {found.identity.name} has no service with"
    )
    return Unsupported(
        f"{what} nothing to go back to",
        cause=f"a reset is for services of kind {known}",
        fix=["leave it out; `envctl up --fresh` makes everything anew"] if connection else [],
        subject={"service": connection.service if connection else None},
        state="nothing was changed",
    )
