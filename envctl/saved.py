"""Named snapshots of an environment's data: the verbs behind `envctl snapshot`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envctl import environment
from envctl.conductor.data import snapshots
from envctl.conductor.data.snapshots import Listed
from envctl.conductor.place import Place, Selection, Wishes, open_place
from envctl.errors import EnvironmentInUse
from envctl.host.snapshots import MAX_BYTES, Named
from envctl.report import Progress

if TYPE_CHECKING:
    from envctl.host.prepared import Snapshot

_LOCK_LIMIT_S = 90.0


def save(selection: Selection, name: str, *, replace: bool = False, progress: Progress) -> Named:
    """Save what the environment's services hold, while tests go on.

    Args:
        selection: Which environment.
        name: What the snapshot is called; one of each name for a project.
        replace: Whether it may take the place of another.
        progress: Is told what happens.

    Raises:
        EnvctlError: It could not be saved; nothing was replaced.
    """
    return snapshots.save(open_place(selection), name, replace=replace, progress=progress)


def restore(
    selection: Selection,
    name: str,
    *,
    only: Collection[str] = (),
    progress: Progress,
    timeout_s: float | None = None,
) -> tuple[str, ...]:
    """Put back what a snapshot holds, all of it or nothing; whoever is connected is sent away.

    An environment that does not run is started first, also one whose data was left half changed.

    Args:
        selection: Which environment.
        name: The snapshot.
        only: Only these services.
        progress: Is told what happens.
        timeout_s: How long to wait for another process that works on the environment, seconds.

    Returns:
        The services whose data was put back.

    Raises:
        EnvctlError: It could not be done. Unless the error's `state` says that nothing was changed, the environment is
            dirty.
    """
    place = open_place(selection)
    if not snapshots.is_up(place, name, only):
        progress.note("starting the environment first")
        environment.up(selection, progress=progress, wishes=Wishes(timeout_s, dirty=True))
    limit_s = _LOCK_LIMIT_S if timeout_s is None else timeout_s
    return snapshots.restore(place, name, only=only, progress=progress, timeout_s=limit_s)


def listed(selection: Selection, *, everything: bool = False) -> Listed:
    """The snapshots of this project, or of all: named ones and those that were prepared."""
    return snapshots.listed(open_place(selection), everything=everything)


def remove(selection: Selection, names: Sequence[str]) -> list[str]:
    """Remove named snapshots, and prepared ones by the beginning of their key; none where one of them is not there.

    Raises:
        SnapshotNotFound: One is not there.
        EnvironmentInUse: An environment runs on prepared data; what was named before it is removed.
    """
    place = open_place(selection)
    return [_remove(place, one) for one in snapshots.resolve(place, names)]


def _remove(place: Place, one: Named | Snapshot) -> str:
    if isinstance(one, Named):
        return snapshots.of_project(place).remove(one.name).name
    from envctl.conductor.data import preparing

    if preparing.remove(place.selection.environ, one.key) is None:
        raise EnvironmentInUse(
            f"prepared snapshot {one.key[: snapshots.SHOWN_KEY]} is in use",
            cause="an environment runs on it, or is just being started from it",
            fix=["envctl ls shows the environments there are", "envctl down removes one"],
            subject={"snapshot": one.key},
            state="it stays",
        )
    return one.key


def export(selection: Selection, name: str, target: Path, *, replace: bool = False) -> Named:
    """Copy a named snapshot to a file.

    Raises:
        EnvctlError: It is not there or damaged, or the file is there or cannot be written.
    """
    return snapshots.of_project(open_place(selection)).export(name, target, replace=replace)


def take_in(
    selection: Selection, source: Path, name: str | None = None, *, max_bytes: int | None = None, replace: bool = False
) -> Named:
    """Take a file in that `export` has written, once every byte of it is proven.

    Args:
        selection: Says of which project it becomes a snapshot.
        source: The file.
        name: What it is called here, or None for what it was called.
        max_bytes: How much it may hold, unpacked; None for 10 GB.
        replace: Whether it may take the place of another.

    Raises:
        EnvctlError: It is no snapshot, or damaged, or too large, or there is one of this name.
    """
    store = snapshots.of_project(open_place(selection))
    limit = MAX_BYTES if max_bytes is None else max_bytes
    return store.take_in(source, name, max_bytes=limit, replace=replace)
