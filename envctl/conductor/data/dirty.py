"""The state `dirty`: something changes an environment's data, and until it has ended nobody may rely on it.

It is written down before the first change and taken back after the last. Who is killed in between leaves it behind, so
that no command takes half of a restore for the data that tests expect. A file says the same (see `marker`), in case the
registry is lost. All of it under the environment's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from envctl import kinds
from envctl.conductor import record
from envctl.conductor.data import marker
from envctl.conductor.data.marker import KEY
from envctl.errors import DataDirty, DataFailed, EnvctlError
from envctl.host import clock, owner
from envctl.host.signals import shielded
from envctl.model import EnvironmentState, Owner

if TYPE_CHECKING:
    from envctl.conductor.place import Place
    from envctl.host.registry import EnvironmentRecord


class Change:
    """A change of an environment's data that is under way."""

    def __init__(self) -> None:
        self.is_harmless = False

    def nothing_changed(self, certain: bool = True) -> None:  # noqa: FBT001, FBT002 - a word that says it all
        """Say that the data is as it was before: where the block fails now, the environment is not dirty.

        Args:
            certain: False where the first change begins only now.
        """
        self.is_harmless = certain


@contextmanager
def while_changing(
    place: Place, found: EnvironmentRecord, doing: str, services: Collection[str] = ()
) -> Iterator[Change]:
    """The environment is dirty while the block runs, and ready after it; the caller holds its lock.

    Where the block fails, it stays dirty, unless it said `nothing_changed`: then it is what it was before.

    Args:
        place: Where we stand.
        found: The environment, as it was found under the lock.
        doing: What is done, as people call it: "envctl snapshot restore before-demo".
        services: Whose data is changed; none means all. Where other services were dirty before, they still are after.
    """
    name = found.identity.name
    concerned = set(services or found.details.get("services", {}))
    before = set(_services(found)) - concerned
    change = Change()
    change.nothing_changed()  # as long as the block has not begun
    details = {**found.details, KEY: _note(doing, concerned | before)}
    try:
        marker.write(place.state, name, found.stack.id, details)
        place.registry.set_state(name, EnvironmentState.DIRTY, details=details)
        change.nothing_changed(certain=False)
        yield change
    except BaseException as error:
        if change.is_harmless:
            with shielded():
                place.registry.set_state(name, found.state, details=found.details)
                mark(place, found)
        elif isinstance(error, EnvctlError) and not error.state:
            error.state = f"{name} is dirty: it is not used until its data is put right"
        raise
    now = place.registry.find(name=name) or found  # the block may have written down more
    details = {key: value for key, value in now.details.items() if key != KEY}
    if before:
        details[KEY] = {**found.details[KEY], "services": sorted(before)}
    state = EnvironmentState.DIRTY if before else EnvironmentState.READY
    place.registry.set_state(name, state, details=details)
    mark(place, replace(found, state=state, details=details))


def mark(place: Place, found: EnvironmentRecord) -> None:
    """Have the file beside the registry say what the record says. Raises CannotWrite."""
    if is_dirty(found):
        marker.write(place.state, found.identity.name, found.stack.id, found.details)
    else:
        marker.remove(place.state, found.identity.name)


def recover(found: EnvironmentRecord) -> None:
    """Put right what a restore that was killed has left in servers, such as a database that lets nobody in.

    To be called under the environment's lock, before anything else is done to put its data right.

    Raises:
        DataFailed: A server did not answer.
    """
    for connection in record.connections(found).values():
        if (dumps := kinds.dumps(connection.kind)) is None:
            continue
        try:
            dumps.recover(connection)
        except DataFailed as error:  # `up` refuses what is dirty: it does not start the server again
            error.fix = (*error.fix, "envctl up --fresh begins anew, without what is there")
            raise


def _note(doing: str, services: Collection[str]) -> dict[str, Any]:
    me = owner.current()
    return {
        "doing": doing,
        "since": clock.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
        "services": sorted(services),
        "pid": me.pid,
        "boot_id": me.boot_id,
        "start_ticks": me.start_ticks,
    }


def _services(found: EnvironmentRecord) -> Collection[str]:
    """Whose data is not to be relied on; none where the environment is not dirty."""
    if not is_dirty(found):
        return ()
    services: list[str] = told(found).get("services", [])
    return services or list(found.details.get("services", {}))


def is_dirty(found: EnvironmentRecord) -> bool:
    """Whether the data of the environment, or what is kept of it, was left half changed, or is being changed."""
    return found.state is EnvironmentState.DIRTY or KEY in found.details


def told(found: EnvironmentRecord) -> Mapping[str, Any]:
    """What was begun and not ended: doing, since, pid, services; empty where nothing was.

    Data of `persist: true` services stays dirty also while the environment is down.
    """
    note: Mapping[str, Any] = found.details.get(KEY, {})
    return note


def kept(found: EnvironmentRecord) -> dict[str, Any]:
    """What of the record's details must stay wherever its data does: that it is dirty."""
    return {KEY: found.details[KEY]} if KEY in found.details else {}


def is_under_way(found: EnvironmentRecord) -> bool:
    """Whether the process that changes the data lives, as far as can be seen."""
    note = told(found)
    if not note:
        return False
    return owner.is_alive(Owner(str(note["boot_id"]), int(note["pid"]), int(note["start_ticks"])))


def refuse(found: EnvironmentRecord) -> None:
    """Let nobody use an environment whose data was left half changed.

    Raises:
        DataDirty: It is dirty.
    """
    if not is_dirty(found):
        return
    note = told(found)
    doing, pid = note.get("doing", "a change of its data"), note.get("pid")
    alive = is_under_way(found)
    fate = f"process {pid} is still at it" if alive else f"process {pid} did not finish it"
    names = ", ".join(_services(found))
    raise DataDirty(
        f"the data of {found.identity.name} is {'being changed' if alive else 'dirty: it was left half changed'}",
        cause=f"`{doing}` was begun at {note.get('since', 'an unknown time')} ({names}), and {fate}",
        fix=_ways_out(found, alive=alive),
        subject={"environment": found.identity.name, "pid": pid, "doing": doing, "services": list(_services(found))},
        state="unchanged",
    )


def _ways_out(found: EnvironmentRecord, *, alive: bool) -> list[str]:
    wait = ["wait for that process, then try again"] if alive else []
    if found.state is EnvironmentState.DOWN:
        return [
            *wait,
            "envctl snapshot restore NAME puts the data right that was kept",
            "envctl down --purge removes it",
        ]
    return [
        *wait,
        "envctl reset, or envctl snapshot restore NAME, puts the data right",
        "envctl up --fresh begins anew, without what is there",
    ]
