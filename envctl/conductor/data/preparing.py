"""The `up` of an environment whose data is migrated and seeded: it starts from data that was prepared once.

What shapes the data gives a key. Where there is no snapshot of that key yet, a *maker* is brought up: an environment of
the data services alone, for as long as this takes. It is migrated and seeded, its services are stopped cleanly and what
they hold is kept, and last of all the snapshot is marked whole. So an environment never sees half-made data, and
whatever goes wrong goes with the maker. Who wants the same meanwhile waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envctl import engines
from envctl.conductor import creation, gather
from envctl.conductor.data import inplace, orphans, provenance, renewing, shaping
from envctl.conductor.data.ending import Ending
from envctl.conductor.data.maker import maker
from envctl.conductor.data.provenance import Provenance
from envctl.conductor.place import Place
from envctl.errors import Busy, DataFailed, EnvctlError, Interrupted
from envctl.host import clock
from envctl.host.prepared import Snapshot, Store
from envctl.model import EnvironmentState
from envctl.plan import data_key, references
from envctl.report import Silent

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.host.locks import Lock
    from envctl.host.registry import EnvironmentRecord
    from envctl.model import EnvironmentSpec
    from envctl.report import EnvironmentReport, Progress

_MOST_NAMED = 5
_NOT_YET = "envctl-prepared:new"  # in a plan that is only shown: what starts from it is defined as it will be
_FIRST, _AGAIN, _UNSEEDED = "the first of this project", "made again", "unseeded"


def bring_up(place: Place, lock: Lock, budget_s: float, progress: Progress, began_s: float) -> EnvironmentReport:
    """As `creation.bring_up`, with the data that the configuration asks for.

    Raises:
        MigrationFailed, SeedFailed: The data could not be made; the environment is as it was before.
        EnvctlError: As there.
    """
    found = creation.stays(place)
    services = _prepared(place, found)
    if not services:
        way = inplace.bring_up if provenance.is_shaped(place.spec) else creation.bring_up
        return way(place, lock, budget_s, progress, began_s)
    preparation = _Preparation(place, found, services, budget_s, progress)
    if found is None or found.state is EnvironmentState.DOWN:  # what runs as defined is left alone
        preparation.renew()
    with preparation.ending.awaited():
        report = _started(preparation, place, lock, budget_s, progress, began_s)
    if place.wishes.fresh:  # what ran on the data that was there before is gone only now
        preparation.clear()
    return report


def _started(
    preparation: _Preparation, place: Place, lock: Lock, budget_s: float, progress: Progress, began_s: float
) -> EnvironmentReport:
    """Start from prepared data; once more where somebody has removed that meanwhile."""
    origin = preparation.ensured()
    try:
        return creation.bring_up(place, lock, budget_s, progress, began_s, origin)
    except Interrupted:
        raise
    except EnvctlError:
        if preparation.is_whole(origin):
            raise
    progress.note("the prepared data was removed or damaged meanwhile: it is made anew")
    with preparation.held() as origin:
        return creation.bring_up(place, lock, budget_s, progress, began_s, origin)


def planned(place: Place) -> tuple[Provenance, str]:
    """Where the data would come from, for a plan that is only shown, and why it would be made first; "" if it is there.

    Args:
        place: Where we stand.
    """
    spec, found = place.spec, place.find()
    services = _prepared(place, found)
    if not services:
        return provenance.NOWHERE, ""
    known = provenance.unchanged(spec, found) if found is not None else None
    if found is not None and known and not gather.moved(place, place.engine(found, planning=True), known):
        return known, ""
    return _Preparation(place, found, services, 0, Silent()).planned()


def _prepared(place: Place, found: EnvironmentRecord | None) -> list[str]:
    """The services that start from prepared data; none where all data is made in its place."""
    services = data_key.wants(place.spec)
    if not _stands_alone(place.spec, services):
        return []
    return services if provenance.is_shaped(place.spec) or _begins_so(place, found) else []


def _begins_so(place: Place, found: EnvironmentRecord | None) -> bool:
    """Whether what begins with nothing is to begin from what was kept of that.

    Not what runs without it: its data would go. Not in CI, where the machine is thrown away; nor without containers,
    where every cluster begins so.
    """
    if found is not None and found.details and not provenance.recorded(found).key:
        return found.state is EnvironmentState.DOWN
    return not place.checkout.ci and gather.has_containers(place.engine(found, planning=True))


def _stands_alone(spec: EnvironmentSpec, services: Sequence[str]) -> bool:
    """Whether the data services can be up without the others."""
    used = {name for one in services for text in spec.services[one].environment.values() for name in _named(text)}
    return used <= set(services)


def _named(text: str) -> set[str]:
    return set(references.services_in(text))


class _Preparation:
    """The search for prepared data, and its making.

    Args:
        place: Where the environment that wants it stands.
        found: Its record.
        services: The services whose data is prepared together.
        budget_s: Time for becoming ready, seconds.
        progress: Is told what happens.

    Attributes:
        ending: The removal of what the data was made in.
    """

    def __init__(
        self,
        place: Place,
        found: EnvironmentRecord | None,
        services: Sequence[str],
        budget_s: float,
        progress: Progress,
    ) -> None:
        self._place, self._services, self._budget_s, self._progress = place, services, budget_s, progress
        self._engine = place.engine(found, planning=True)
        self._store = Store(place.selection.environ)
        self.ending = Ending()

    def renew(self) -> None:
        """Ask for newer images, where the configuration wants that. Raises ImageError."""
        renewing.renew(self._place, self._engine, self._services, self._progress)

    def ensured(self) -> Provenance:
        """The data, made where it is not there yet. Raises EnvctlError."""
        made_with = self._made_with()
        if not self._place.wishes.fresh and (known := self._known(made_with)):
            self._tell(known)
            return known
        provisional = data_key.key(self._inputs(dict.fromkeys(self._services, self._engine.address)))
        purpose = f"preparing data ({', '.join(self._services)})"
        with self._store.making(provisional, purpose, self._progress.note):
            made_with = self._made_with()
            if not self._place.wishes.fresh and (known := self._known(made_with)):
                return known  # who was waited for has made it
            return self._made(provisional, made_with)

    @contextmanager
    def held(self) -> Iterator[Provenance]:
        """The same, and for the time of the block nobody removes it. Raises EnvctlError."""
        for last in (False, False, False, False, True):
            origin = self.ensured()
            with self._store.making(origin.key, "starting from prepared data", self._progress.note):
                if last or self.is_whole(origin):
                    yield origin
                    return

    def planned(self) -> tuple[Provenance, str]:
        """The data if it is there, else why it would be made. Changes nothing."""
        made_with = self._made_with()
        if not self._place.wishes.fresh and (known := self._known(made_with)):
            return known, ""
        return Provenance("", made_with, dict.fromkeys(self._services, _NOT_YET)), self._cause(made_with)

    def clear(self) -> None:
        """Remove what no snapshot knows any more. Housekeeping: no failure of it is told."""
        orphans.clear(self._place.selection.environ, self._engine)

    def is_whole(self, origin: Provenance) -> bool:
        """Whether it is still there: somebody may have removed it, or made room for other data."""
        snapshot = self._store.find(origin.key)
        return snapshot is not None and _is_there(self._engine, snapshot)

    def _tell(self, known: Provenance) -> None:
        """Say what a new environment starts from, and why one that was there begins with other data."""
        found = self._place.find()
        before = self._store.find(provenance.recorded(found).key)
        changes = data_key.differing(before.inputs, self._inputs(known.made_with)) if before else []
        if found is None or changes:
            why = f": {', '.join(changes)}" if changes else ""
            self._progress.note(f"starting from prepared data {known.key[:8]}{why}")

    # -- looking -----------------------------------------------------------------------------------------------------

    def _inputs(self, made_with: Mapping[str, str]) -> dict[str, str]:
        return data_key.inputs(self._place.spec, self._services, made_with)

    def _made_with(self) -> dict[str, str]:
        """What runs each service here: the id of its image, or its program; "" for an image that is still to be had."""
        return gather.runs(self._place, self._engine, self._services)

    def _known(self, made_with: Mapping[str, str]) -> Provenance | None:
        if not all(made_with.values()):
            return None
        key = provenance.prepared_key(self._inputs(made_with), self._engine.address)
        snapshot = self._store.find(key)
        if snapshot is None:
            return None
        if not _is_there(self._engine, snapshot):  # somebody removed the images
            self._store.remove(key)
            return None
        return Provenance(key, made_with, dict(snapshot.sources))

    # -- making ------------------------------------------------------------------------------------------------------

    def _made(self, provisional: str, made_with: Mapping[str, str]) -> Provenance:
        cause = self._cause(made_with)
        self._progress.note(f"preparing data: {cause}")
        place, services, label = self._place, self._services, f"{orphans.MAKER}{provisional[:8]}"
        made_in = maker(place, self._engine, services, label, self._budget_s, self._progress, self.ending)
        with made_in as (own, report):
            if provenance.is_shaped(place.spec):
                shaping.shape(place.spec, own, report, services, self._progress)
            shaping.settle(report, services)
            self._check_inputs()
            made_with = self._made_with()
            key = provenance.prepared_key(self._inputs(made_with), self._engine.address)
            with self._store.making(key, f"keeping data ({', '.join(services)})", self._progress.note):
                snapshot = self._sealed(key, made_with, self._captured(own, key), cause)
        self._make_room(key)
        return Provenance(key, made_with, dict(snapshot.sources))

    def _check_inputs(self) -> None:
        """Nobody knows what data is made of whose files were changed meanwhile."""
        from envctl.host import config

        place = self._place
        changed = config.changed_since(place.spec, shaping.root_of(place), place.selection.environ)
        if changed:
            raise DataFailed(
                "the data was prepared while somebody changed what it is made of",
                cause=f"{', '.join(changed[:_MOST_NAMED])} changed meanwhile",
                fix=["try again"],
                subject={"files": changed},
            )

    def _cause(self, made_with: Mapping[str, str]) -> str:
        if self._place.wishes.fresh:
            return "--fresh"
        before = self._store.newest_like(self._project, self._engine.name, self._engine.address)
        if before is None:
            return _FIRST if provenance.is_shaped(self._place.spec) else f"{_UNSEEDED}, {_FIRST}"
        return ", ".join(data_key.differing(before.inputs, self._inputs(made_with))) or _AGAIN

    @property
    def _project(self) -> str:
        return self._place.identity().project

    def _captured(self, own: Place, key: str) -> dict[str, tuple[str, int]]:
        """Side by side: what an engine does for one service takes it no longer while it does it for another."""
        from concurrent.futures import ThreadPoolExecutor

        found = own.required()
        folder = self._store.folder(key)

        def kept(name: str) -> tuple[str, int]:
            self._progress.phase(name, "keeping")
            return self._engine.capture(found.stack, own.registry.registry_id, name, key, folder)

        with ThreadPoolExecutor(len(self._services)) as pool:
            return dict(zip(self._services, pool.map(kept, self._services), strict=True))

    def _make_room(self, key: str) -> None:
        for old in self._store.excess(self._place.spec.snapshots_max_bytes, key):
            remove(self._place.selection.environ, old.key)

    def _sealed(
        self, key: str, made_with: Mapping[str, str], sources: Mapping[str, tuple[str, int]], cause: str
    ) -> Snapshot:
        identity, now_s = self._place.identity(), clock.now().timestamp()
        snapshot = Snapshot(
            key=key,
            engine=self._engine.name,
            where=self._engine.address,
            project=identity.project,
            branch=identity.branch,
            created_s=now_s,
            used_s=now_s,
            size_bytes=sum(size for _, size in sources.values()),
            cause=cause,
            inputs=self._inputs(made_with),
            sources={name: source for name, (source, _) in sources.items()},
        )
        self._store.seal(snapshot)
        return snapshot


def _is_there(engine: Engine, snapshot: Snapshot) -> bool:
    images = [source for source in snapshot.sources.values() if not source.startswith("/")]
    return all(engine.image_ids(images).values()) if images else True


# -- removing ----------------------------------------------------------------------------------------------------------


def remove(environ: Mapping[str, str], key: str) -> Snapshot | None:
    """Remove prepared data, with its images; None where there is none, or where it is in use.

    That is: an environment runs on it, or somebody is just making it or starting from it.

    Args:
        environ: The caller's variables.
        key: The snapshot's key.
    """
    store = Store(environ)
    snapshot = next((one for one in store.all() if one.key == key), None)
    if snapshot is None:
        return store.remove(key)  # a damaged one
    engine = engines.create(snapshot.engine, environ, snapshot.where)
    images = [source for source in snapshot.sources.values() if not source.startswith("/")]
    try:
        with store.alone(key, "removing prepared data"):
            # Those that can go are gone then, and nobody starts from the rest: it is made anew.
            if [image for image in images if not engine.discard(image)]:
                return None
    except Busy:
        return None
    orphans.clear(environ, engine)
    return store.remove(key)
