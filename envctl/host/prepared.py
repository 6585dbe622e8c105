"""The store of prepared snapshots: data that was made once, from which environments start.

    ROOT/prepared/KEY/SERVICE.data   a process's data folder, packed; data of containers is in images of the engine
    ROOT/prepared/KEY/meta.json      written last: what it is, and what the files must be; its own time says when it
                                     was used

ROOT is the user's cache folder, or the state directory where there is none that can be used. Losing the store costs
time only. Nobody else may write in it: a database runs what its data says.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from envctl.errors import Busy, CannotWrite
from envctl.host import cache, files, locks, paths, seals

_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONGEST_MAKING_S = 30 * 60.0


class Snapshot(NamedTuple):
    """Prepared data of one environment's services.

    Attributes:
        key: Digest of everything that shaped it.
        engine: "compose" or "embedded".
        where: The engine's address.
        project: For whom it was made,
        branch: and on which branch.
        created_s: When, in seconds since 1970.
        used_s: When an environment was started from it last.
        size_bytes: What it takes on disk.
        cause: Why it was made, in words.
        inputs: What shaped it: a name people know → its digest.
        sources: Service → reference of the image, or absolute path of the file, that holds its data.
    """

    key: str
    engine: str
    where: str
    project: str
    branch: str
    created_s: float
    used_s: float
    size_bytes: int
    cause: str
    inputs: Mapping[str, str]
    sources: Mapping[str, str]


class Store:
    """The prepared snapshots of this user.

    Args:
        environ: The caller's variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        chosen = cache.root(environ)
        self._roots = [root / "prepared" for root in (*([chosen] if chosen else []), paths.state_dir(environ))]

    # -- looking -----------------------------------------------------------------------------------------------------

    def find(self, key: str) -> Snapshot | None:
        """The snapshot, if it is whole; from now on it counts as just used."""
        for folder in self._folders(key):
            meta = seals.read(folder)
            if meta is None or not all(seals.is_whole(folder / name, seal) for name, seal in meta["files"].items()):
                continue
            with suppress(OSError):  # a cache that can only be read
                os.utime(folder / seals.NAME)
            return _snapshot(folder, meta)
        return None

    def newest_like(self, project: str, engine: str, where: str) -> Snapshot | None:
        """The one of the same project and engine that was used last, so that it can be told which input changed."""
        wanted = (project, engine, where)
        return next((one for one in self.all() if (one.project, one.engine, one.where) == wanted), None)

    def all(self) -> list[Snapshot]:
        """Every snapshot, the one that was used last first."""
        found: dict[str, Snapshot] = {}
        for root in filter(_is_ours, self._roots):
            for folder in _entries(root):
                meta = seals.read(folder) if folder.name not in found and _KEY.fullmatch(folder.name) else None
                if meta is not None:
                    found[folder.name] = _snapshot(folder, meta)
        return sorted(found.values(), key=lambda one: one.used_s, reverse=True)

    def excess(self, max_bytes: int, keep: str) -> list[Snapshot]:
        """What must go for all to fit, that which was used longest ago first.

        Args:
            max_bytes: What all may take.
            keep: The key of one that stays in any case.
        """
        known = self.all()
        total, doomed = sum(one.size_bytes for one in known), []
        for one in reversed(known):
            if total <= max_bytes:
                break
            if one.key != keep:
                doomed.append(one)
                total -= one.size_bytes
        return doomed

    def clear(self) -> None:
        """Remove what makers that were killed have left. Housekeeping: no failure of it is told."""
        with suppress(CannotWrite):
            for folder in self._abandoned():
                self._clear(folder)

    def is_abandoned(self, key: str, source: str) -> bool:
        """Whether no snapshot has the source, and nobody is making the one that it was meant for.

        Args:
            key: That one's.
            source: Reference of an image.
        """
        if not _KEY.fullmatch(key):
            return False
        with suppress(Busy, CannotWrite, OSError), self._lock(key, "clearing up", 0):
            return all(source not in one.sources.values() for one in self.all())
        return False

    # -- making ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The folder of new snapshots. Raises CannotWrite where there is no place for one."""
        return self._place

    @contextmanager
    def making(self, key: str, purpose: str, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Only one process of this user at a time is in here for a key. Who has waited looks again with `find`.

        Args:
            key: Of what is to be made.
            purpose: What for; waiters show it.
            on_wait: Gets a sentence about the one that is waited for.

        Raises:
            Busy: It was not free within half an hour.
            CannotWrite: There is no place for it.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._lock(key, purpose, _LONGEST_MAKING_S, on_wait))
            except Busy as error:
                raise Busy(
                    "the data that this environment starts from is still being prepared by another process",
                    cause=error.cause,
                    evidence=[error.message],
                    fix=["wait for that process and try again, or end it", "or do without: `envctl up --fresh`"],
                    subject=error.subject,
                    state="unchanged",
                ) from error
            yield

    def alone(self, key: str, purpose: str) -> AbstractContextManager[None]:
        """As `making`, where nobody is to be waited for. Raises Busy."""
        return self._lock(key, purpose, 0)

    def folder(self, key: str) -> Path:
        """A private folder for the snapshot's files, to be asked for in `making`; what killed makers left is removed.

        Raises:
            CannotWrite: It cannot be made.
        """
        folder = self._place / _checked(key)
        try:
            paths.make_private(folder)
            folder.chmod(0o700)
        except OSError as error:
            raise files.cannot_write(folder, error, variable="ENVCTL_CACHE_DIR") from error
        if seals.read(folder) is None:
            _empty(folder)
        files.sweep(folder)
        return folder

    def seal(self, snapshot: Snapshot) -> None:
        """Say, last of all, that the snapshot is whole. Its files are in its `folder`.

        Raises:
            CannotWrite: A file, or the mark, cannot be written.
            ValueError: A file is elsewhere.
        """
        folder = self._place / _checked(snapshot.key)
        sealed: dict[str, dict[str, Any]] = {}
        for path in map(Path, filter(_is_path, snapshot.sources.values())):
            if path.parent != folder:
                raise ValueError(f"{path} is not in {folder}")
            try:
                sealed[path.name] = seals.seal(path)
            except OSError as error:
                raise files.cannot_write(path, error, variable="ENVCTL_CACHE_DIR") from error
        sources = {name: source.removeprefix(f"{folder}/") for name, source in snapshot.sources.items()}
        seals.write(folder, snapshot._asdict() | {"inputs": dict(snapshot.inputs), "sources": sources}, sealed)

    def remove(self, key: str) -> Snapshot | None:
        """Remove a snapshot, also a damaged one: its mark, then its files, unless somebody is just making it anew.

        Returns:
            What it was, so that its images can be removed too; None where there was none, or nothing is known of it.
        """
        removed = None
        for folder in self._folders(key):
            meta = seals.read(folder)
            removed = removed or (None if meta is None else _snapshot(folder, meta))
            with suppress(FileNotFoundError):
                (folder / seals.NAME).unlink()
            self._clear(folder)
        return removed

    # ----------------------------------------------------------------------------------------------------------------

    @cached_property
    def _place(self) -> Path:
        """Where new ones go: the first place that can be used."""
        for root in self._roots:
            try:
                paths.make_private(root)
            except OSError:
                continue
            if _is_ours(root) and os.access(root, os.W_OK):
                return root
        raise CannotWrite(
            "there is no place to keep prepared data",
            cause="none of these is a folder that only you can write",
            evidence=[str(root) for root in self._roots],
            fix=["set ENVCTL_CACHE_DIR to a directory that only you can write", "or `snapshots: false` in envctl.yaml"],
        )

    def _folders(self, key: str) -> list[Path]:
        """Where the snapshot could be."""
        if not _KEY.fullmatch(key):
            return []
        return [root / key for root in self._roots if _is_ours(root) and (root / key).is_dir()]

    @contextmanager
    def _lock(
        self, key: str, purpose: str, timeout_s: float, on_wait: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        name = f"prepare-{_checked(key)}"
        with locks.machine_lock(self._place.parent, name, timeout_s=timeout_s, purpose=purpose, on_wait=on_wait):
            yield

    def _clear(self, folder: Path) -> None:
        """Remove what has no mark, unless somebody is at it. Housekeeping: it never raises."""
        with suppress(Busy, CannotWrite, OSError), self._lock(folder.name, "removing prepared data", 0):
            if not (folder / seals.NAME).exists():
                files.remove_tree(folder, folder.parent)

    def _abandoned(self) -> Iterator[Path]:
        """What has no mark; whoever works in one holds its lock."""
        for folder in _entries(self._place):
            if _KEY.fullmatch(folder.name) and not (folder / seals.NAME).exists():
                yield folder


# -- files -------------------------------------------------------------------------------------------------------------


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a key of prepared data: {key!r}")
    return key


def _is_path(source: str) -> bool:
    """Whether a source is a file; references of images do not begin like that."""
    return source.startswith("/")


def _is_ours(root: Path) -> bool:
    """Whether only we can write there. What others could read until now they cannot from now on."""
    try:
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            return False
        if stat.S_IMODE(found.st_mode) != 0o700:
            root.chmod(0o700)
    except OSError:
        return False
    return True


def _entries(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError:
        return []


def _empty(folder: Path) -> None:
    for entry in _entries(folder):
        if left := files.remove_tree(entry, folder):
            raise CannotWrite(f"cannot remove the half-made {entry}", evidence=left, fix=[f"rm -rf {folder}"])


def _snapshot(folder: Path, meta: dict[str, Any]) -> Snapshot:
    sources = {name: str(folder / one) if one in meta["files"] else one for name, one in meta["sources"].items()}
    known = {field: meta[field] for field in Snapshot._fields}
    return Snapshot(**(known | {"sources": sources}))
