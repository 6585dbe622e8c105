"""Named snapshots of an environment's data: saved while tests run, restored all or nothing.

A restore first reads everything into a place beside what is there. Only then is the environment dirty, for as long as
it takes to exchange the two: moments. So a file that is damaged, a disk that is full or Ctrl-C changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from envctl import __version__, kinds
from envctl.conductor import live, record
from envctl.conductor.data import dirty
from envctl.conductor.place import Place
from envctl.errors import DataFailed, ServiceNotFound, SnapshotInvalid, Unsupported, UsageError
from envctl.host import clock, locks
from envctl.host.prepared import Snapshot, Store
from envctl.host.signals import shielded
from envctl.host.snapshots import Named, Snapshots, check_name, everywhere
from envctl.model import Connection, EnvironmentState, ServiceState

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.host.registry import EnvironmentRecord
    from envctl.host.snapshot_file import Part, Reader
    from envctl.host.streams import Writable
    from envctl.kinds.contents import Dumps, Pending
    from envctl.report import Progress

SHOWN_KEY = 12
"""Digits of a prepared snapshot's key that people are shown; six are enough to name it."""

_COMMAND_LIMIT_S = 600.0
_SHORTEST_KEY = 6


def of_project(place: Place) -> Snapshots:
    """The store of the project in which we stand."""
    return Snapshots(place.state, place.identity().project)


# -- saving ------------------------------------------------------------------------------------------------------------


def save(place: Place, name: str, *, replace: bool, progress: Progress) -> Named:
    """Save what the environment's services hold, each at one moment; takes no lock, so that tests go on.

    Args:
        place: Where we stand.
        name: What the snapshot is called.
        replace: Whether it may take the place of one of this name.
        progress: Is told what happens.

    Raises:
        UsageError: It cannot be called so.
        EnvironmentNotFound: There is no environment.
        DataDirty: Its data was left half changed, or is being changed.
        Unsupported: No service of it holds data that can be saved.
        ForeignServer: A server does not prove to be the environment's.
        WouldOverwrite: There is one of this name.
        DataFailed, CannotWrite: It could not be saved; what there was of this name is still there.
    """
    store, found = of_project(place), place.required()
    check_name(name)
    dirty.refuse(found)
    services = _services(place, found)
    if not services:
        raise _nothing_to_save(found)
    if left := [other for other in record.connections(found) if other not in services]:
        progress.note(f"not in it, as they hold no data that can be saved: {', '.join(left)}")
    from envctl.host.snapshot_file import Writer

    with store.writing(name, replace=replace) as file:
        writer = Writer(file)
        for service, one in services.items():
            progress.phase(service, "saving")
            with writer.part(service, one.connection.kind, one.version, one.connection.database or "") as part:
                one.dumps.save(one.connection, part, one)
            progress.phase(service, "saved")
        _still_the_same(place, found)
        identity = found.identity
        moment = clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        writer.finish(name, identity.project, identity.branch, moment, __version__)
    return store.find(name)


def _still_the_same(place: Place, found: EnvironmentRecord) -> None:
    """A restore, a reset or an `up` in the middle of it would make it one of two environments."""
    now = place.find()
    if now is None or now.stack.id != found.stack.id or now.state is EnvironmentState.REMOVING:
        raise DataFailed(
            f"{found.identity.name} was removed while it was saved",
            fix=["envctl up, then try again"],
            state="no snapshot was made",
        )
    dirty.refuse(now)


def _nothing_to_save(found: EnvironmentRecord) -> Unsupported:
    return Unsupported(
        f"no service of {found.identity.name} holds data that can be saved",
        cause=f"that can be done for: {', '.join(name for name in kinds.names() if kinds.dumps(name))}",
        fix=["envctl exec SERVICE -- … runs the service's own program for it"],
        state="unchanged",
    )


# -- restoring ---------------------------------------------------------------------------------------------------------


def restore(
    place: Place, name: str, *, only: Collection[str] = (), progress: Progress, timeout_s: float
) -> tuple[str, ...]:
    """Put back what a snapshot holds, in place of what the environment's services hold: all of it or nothing.

    Args:
        place: Where we stand.
        name: The snapshot.
        only: Only these services; none for all that the snapshot holds.
        progress: Is told what happens.
        timeout_s: How long to wait for another process that works on the environment.

    Returns:
        The services whose data was put back.

    Raises:
        SnapshotNotFound: There is no such snapshot.
        SnapshotInvalid: It is damaged, or does not fit the environment; nothing was changed.
        EnvironmentNotFound: There is no environment.
        ForeignServer: A server does not prove to be the environment's; nothing was changed.
        DataFailed: It could not be done. Unless `state` says that nothing was changed, the environment is dirty.
    """
    store = of_project(place)
    doing = f"envctl snapshot restore {name}"
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=timeout_s, purpose=doing, on_wait=progress.note
    ):
        found = place.required()
        with store.reading(name) as reader:
            parts = _chosen(reader, found, only)
            if dirty.is_dirty(found):
                dirty.recover(found)
            services = _services(place, found, [part.service for part in parts])
            with _Restore() as work:
                for part in parts:
                    progress.phase(part.service, "restoring")
                    work.prepare(services[part.service], reader)
                with shielded(), dirty.while_changing(place, found, doing, [part.service for part in parts]):
                    work.commit()
        live.await_rejoined(place)
        store.used(name)
        for part in parts:
            progress.phase(part.service, "restored")
    return tuple(part.service for part in parts)


def is_up(place: Place, name: str, only: Collection[str] = ()) -> bool:
    """Whether all the services run that a snapshot is to be restored into. Raises as `restore`, before any change."""
    down = place.find()
    if down is not None and down.state is EnvironmentState.DOWN and dirty.is_dirty(down):
        return False  # the data that was kept is to be put right, and nothing is known of the services
    found = place.required()
    with of_project(place).reading(name) as reader:
        parts = _chosen(reader, found, only)
    running = _running(place, found)[1]
    return all(part.service in running for part in parts)


class _Restore:
    """The services of one restore: prepared one by one, then exchanged one after the other."""

    def __init__(self) -> None:
        self._pending: list[Pending] = []

    def __enter__(self) -> _Restore:
        return self

    def __exit__(self, *_: object) -> None:
        with shielded(), ExitStack() as all_of_them:
            for pending in self._pending:
                all_of_them.callback(pending.abort)

    def prepare(self, one: _Service, reader: Reader) -> None:
        """Have the service read what it is to hold."""
        content = reader.open(one.connection.service)
        pending = one.dumps.restore(one.connection, content, one)
        self._pending.append(pending)
        content.finish()

    def commit(self) -> None:
        """Exchange them, the one that was prepared last first: it is the one that is least likely to have aged."""
        while self._pending:
            self._pending[-1].commit()
            self._pending.pop()


def _chosen(reader: Reader, found: EnvironmentRecord, only: Collection[str]) -> list[Part]:
    """The parts to restore, large ones first: what took longest to prepare need not wait for others."""
    parts = {part.service: part for part in reader.manifest.parts}
    there = record.connections(found)
    for service in only:
        if service not in there:
            raise ServiceNotFound(
                f'the environment has no service "{service}"',
                fix=[f"its services: {', '.join(there)}"],
                subject={"service": service},
                state="nothing was changed",
            )
        if service not in parts:
            raise _does_not_fit(f'it holds nothing of service "{service}"', f"it holds: {', '.join(parts)}")
    chosen = [part for part in parts.values() if not only or part.service in only]
    for part in chosen:
        if part.service not in there:
            hint = f"--only {' --only '.join(name for name in parts if name in there)} restores the others"
            fix = [hint] if any(name in there for name in parts) else []
            raise _does_not_fit(f'the environment has no service "{part.service}", of which it holds data', None, fix)
        if there[part.service].kind != part.kind or kinds.dumps(part.kind) is None:
            kind = there[part.service].kind
            raise _does_not_fit(f'service "{part.service}" is of kind {kind} now, and was of kind {part.kind}', None)
    if not chosen:
        raise _does_not_fit("it holds no data", None)
    return sorted(chosen, key=lambda part: part.size, reverse=True)


def _does_not_fit(message: str, cause: str | None, fix: Sequence[str] = ()) -> SnapshotInvalid:
    return SnapshotInvalid(
        f"the snapshot does not fit this environment: {message}", cause=cause, fix=fix, state="nothing was changed"
    )


# -- both --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Service:
    """A service that runs, and what is to be had of it; called, it runs a program where the server is."""

    connection: Connection
    dumps: Dumps
    engine: Engine
    handle: str

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        return self.engine.exec(self.handle, command, _COMMAND_LIMIT_S)

    def stream(
        self, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        return self.engine.stream(self.handle, command, stdin=stdin, stdout=stdout)

    @property
    def version(self) -> str:
        """Of its server, as far as its kind tells."""
        ask: Callable[[Connection], str] | None = getattr(self.dumps, "server", None)
        return ask(self.connection) if ask else ""


def _running(place: Place, found: EnvironmentRecord) -> tuple[Engine, Mapping[str, str]]:
    """The engine, and its id of each service that runs."""
    engine = place.engine(found)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    return engine, {name: one.handle for name, one in seen.items() if one.state is ServiceState.RUNNING}


def _services(place: Place, found: EnvironmentRecord, wanted: Collection[str] = ()) -> dict[str, _Service]:
    """Those whose data can be saved, and among them those that are wanted; each has proved whose it is."""
    engine, running = _running(place, found)
    services: dict[str, _Service] = {}
    for name, connection in record.connections(found).items():
        dumps = kinds.dumps(connection.kind)
        if dumps is None or (wanted and name not in wanted):
            continue
        if name not in running:
            raise DataFailed(
                f'service "{name}" does not run', fix=["envctl up"], subject={"service": name}, state="unchanged"
            )
        if proof := kinds.proof(connection.kind):
            proof.prove(connection)
        services[name] = _Service(connection, dumps, engine, running[name])
    return services


# -- the store ---------------------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """What is kept.

    Attributes:
        named: Named snapshots.
        prepared: Data that was prepared for environments to start from.
    """

    named: Sequence[Named]
    prepared: Sequence[Snapshot]


def listed(place: Place, *, everything: bool) -> Listed:
    """The snapshots of this project, or of all."""
    prepared = Store(place.selection.environ).all()
    if everything:
        return Listed(everywhere(place.state), prepared)
    project = place.identity().project
    return Listed(of_project(place).all(), [one for one in prepared if one.project == project])


def resolve(place: Place, names: Sequence[str]) -> list[Named | Snapshot]:
    """The snapshots that are meant: named ones, and prepared ones by at least six digits of their key.

    Raises:
        SnapshotNotFound: One is not there.
        UsageError: A key's beginning is that of several.
    """
    store, prepared = of_project(place), Store(place.selection.environ).all()
    known = {one.name: one for one in store.all()}
    return [known.get(name) or _by_key(store, name, prepared) for name in dict.fromkeys(names)]


def _by_key(store: Snapshots, beginning: str, prepared: Sequence[Snapshot]) -> Snapshot:
    found = [one for one in prepared if one.key.startswith(beginning.lower())]
    if not found or len(beginning) < _SHORTEST_KEY:
        raise store.not_found(beginning, [one.key[:SHOWN_KEY] for one in prepared])
    if len(found) > 1:
        fix = [f"write more of it: {', '.join(one.key[: len(beginning) + 6] for one in found)}"]
        raise UsageError(f"several prepared snapshots begin with {beginning}", fix=fix)
    return found[0]
