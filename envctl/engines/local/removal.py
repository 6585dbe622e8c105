"""Taking processes and their files away: all processes of a stack at once, then data, then logs and notes.

Nothing is written here, so that it works on a full disk; and nothing is presumed to be whole: what a crash left damaged
is removed all the same. Killed at any point, it goes on where it is called again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envctl import kinds
from envctl.engines.local import census, folders, labelled, records, tree
from envctl.engines.local.records import ProcessRecord
from envctl.errors import Leftovers
from envctl.host import account, clock, files, owner
from envctl.model import Owner

if TYPE_CHECKING:
    from envctl.model import Removed, Stack

_GRACE_S, _DISCARD_GRACE_S = 10.0, 5.0
# A keeper that still keeps another service may note an end into a folder that is just being removed.
_TRIES, _PAUSE_S = 5, 0.01


def end(doomed: Iterable[ProcessRecord], *, intact: Callable[[ProcessRecord], bool]) -> None:
    """End services with all of their processes, all at once.

    Args:
        doomed: The services.
        intact: Whether a service's data is to stay whole; otherwise it is ended as fast as can be.

    Raises:
        Leftovers: A process could not be ended.
    """
    stops = [_stop(record, intact=intact(record)) for record in doomed]
    _complain("a service could not be ended", tree.end(stops) if stops else [])


def forget(state: Path, record: ProcessRecord, *, keep_data: bool) -> None:
    """Remove the files of a service that has ended; with `keep_data` its data stays, and what it was made for.

    Raises:
        Leftovers: Something could not be removed.
    """
    _, left = _remove_service(state, record.folder, keep_data=keep_data)
    _complain(f'the files of service "{record.name}" could not be removed', left)


def discard(state: Path, data_folder: Path) -> None:
    """Remove the data of a service that has ended.

    Raises:
        Leftovers: Something could not be removed.
    """
    _complain(f"{data_folder} could not be removed", _remove_data(state, data_folder))


def remove(state: Path, stack: Stack, *, purge: bool) -> Removed:
    """End all processes of a stack and remove its files; of a stack that never had any, nothing.

    Args:
        state: The state directory.
        stack: The stack.
        purge: Whether the data of `persist: true` goes too. Else it stays, and with it what `find_all` reads.
    """
    from envctl.model import Removed

    if not folders.is_stack(stack.id):
        return Removed({})
    root = folders.stack(state, stack.id)
    known = records.read_all(root)
    persistent = frozenset[str]() if purge else labelled.persistent(root, known)
    started, stuck, left = _end_all(root, known, persistent)
    volumes, kept = 0, []
    for name in sorted({*known, *_names_outside(state, stack.id)} - stuck):
        removed, failed = _remove_service(state, root / name, keep_data=name in persistent)
        volumes += removed
        left += failed
        if name in persistent and folders.data(root / name):
            kept.append(name)
    account.forget_homes(state, stack.id)
    left += _remove_rest(state, root, {*kept, *stuck})
    counts = {"process": started, "volume": volumes}
    names = tuple(f"{stack.project}_{name}-data" for name in kept)
    return Removed({noun: number for noun, number in counts.items() if number}, names, tuple(left))


def _complain(message: str, left: Sequence[str]) -> None:
    if left:
        raise Leftovers(message, leftovers=tuple(left), fix=["end or remove it yourself, then try again"])


# -- processes -------------------------------------------------------------------------------------------------------


def _end_all(
    root: Path, known: Mapping[str, ProcessRecord], persistent: frozenset[str]
) -> tuple[int, set[str], list[str]]:
    """How many services had been started, those that could not be ended, and what of them is left."""
    started = frozenset(name for name, record in known.items() if record.process is not None)
    whole = labelled.services(root) == started
    strays = [] if whole else _strays(root, {record.cookie for record in known.values()})
    stops = [_stop(record, intact=name in persistent) for name, record in known.items()]
    left = tree.end([*stops, *(_stop(record, intact=False) for record in strays)])
    left = left or tree.end([_stop(record, intact=False) for record in _adopted(known.values())])
    alive = {name for name, record in known.items() if left and _is_alive(record)}
    return len(started) + len(strays), alive, left


def _stop(record: ProcessRecord, *, intact: bool) -> tree.Stop:
    name = str(record.definition.get("stop_signal" if intact else "discard_signal", ""))
    number = signal.Signals.__members__.get(name, signal.SIGTERM)
    return tree.Stop(record, number, _GRACE_S if intact else _DISCARD_GRACE_S)


def _is_alive(record: ProcessRecord) -> bool:
    return bool(record.process and owner.is_alive(record.process)) or bool(tree.family([record]))


def _adopted(known: Collection[ProcessRecord]) -> list[ProcessRecord]:
    """What the keepers still have when all services have ended: who left session, parents and variables behind.

    Each as a record of the service by which its keeper is known. Nothing where we are run by the service itself: then
    we may be such a process.
    """
    here = owner.current().boot_id
    kept = {one.keeper.pid: one for one in known if one.keeper and one.keeper.boot_id == here}
    kept = {pid: one for pid, one in kept.items() if one.keeper and owner.is_alive(one.keeper)}
    if not kept or os.environ.get(census.COOKIE) in {one.cookie for one in known}:
        return []
    return [
        replace(kept[child.parent], process=Owner(here, child.pid, child.start_ticks))
        for child in census.take().values()
        if child.parent in kept and not child.ended
    ]


def _strays(root: Path, known: Iterable[str]) -> list[ProcessRecord]:
    """Processes of the stack of which no record tells: their cookie begins with the stack's id."""
    everyone = census.take()
    found: list[ProcessRecord] = []
    for cookie, pids in census.carriers(everyone, since_ticks=0).items():
        others = [everyone[pid] for pid in pids if pid != os.getpid()]
        if not others or cookie in known or not cookie.startswith(f"{root.name}-"):
            continue
        oldest = min(others, key=lambda process: process.start_ticks)
        first = Owner(owner.current().boot_id, oldest.pid, oldest.start_ticks)
        found.append(ProcessRecord(root / "unknown", {}, process=first, cookie=cookie))
    return found


# -- files -----------------------------------------------------------------------------------------------------------


def _names_outside(state: Path, stack_id: str) -> set[str]:
    """The services that have data outside the state directory."""
    return {entry.name for home in account.data_homes(state, stack_id) for entry in home.iterdir()}


def _remove_service(state: Path, folder: Path, *, keep_data: bool) -> tuple[int, list[str]]:
    """How many data folders were removed, and what could not be."""
    stored = folders.data(folder)
    if keep_data and stored:
        needed = {records.DEFINITION, "data"}
        entries = [entry for entry in folder.iterdir() if entry.name not in needed] if folder.is_dir() else []
        return 0, [line for entry in entries for line in _remove(entry, state)]
    _clear(records.read(folder), stored)
    left = [line for place in stored for line in _remove_data(state, place)]
    return len(stored), [*left, *_remove(folder, state)]


def _clear(record: ProcessRecord, stored: Iterable[Path]) -> None:
    """A server that was killed may have left something that is in no folder."""
    if leftovers := kinds.leftovers(record.label("kind")):
        for place in stored:
            leftovers.clear(place)


def _remove_rest(state: Path, root: Path, needed: set[str]) -> list[str]:
    """What is left of the stack, unless there is something that it is needed for."""
    if not needed:
        return _remove(root, state)
    needed.add(labelled.FILE)
    return [line for entry in root.iterdir() if entry.name not in needed for line in _remove(entry, state)]


def _remove_data(state: Path, place: Path) -> list[str]:
    left = _remove(place, state if state in place.parents else place.parents[2])
    account.forget_home(place)
    return left


def _remove(path: Path, below: Path) -> list[str]:
    for again in range(_TRIES):
        clock.sleep_s(_PAUSE_S if again else 0)
        try:
            left = files.remove_tree(path, below)
        except (OSError, ValueError) as error:
            return [str(error)]
        if not left:
            break
    return list(left)
