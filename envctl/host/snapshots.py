"""The store of named snapshots, in the state directory: one file each, whole or not there.

STATE/snapshots/PROJECT/NAME.envctl
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from envctl.errors import SnapshotInvalid, SnapshotNotFound, UsageError, WouldOverwrite
from envctl.host import files, paths
from envctl.host.snapshot_file import Manifest, Reader
from envctl.plan import naming

MAX_BYTES = 10 * 1024**3
"""How much a snapshot may hold, unpacked, unless it is said otherwise."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".envctl"
_PIECE = 1 << 20
_NO_LIMIT = 1 << 62


class Named(NamedTuple):
    """A named snapshot.

    Attributes:
        name: Its name.
        path: Its file.
        size_bytes: What that takes.
        used_s: When it was restored last, else saved, in seconds since 1970.
        manifest: What it says of itself; None where it is damaged.
    """

    name: str
    path: Path
    size_bytes: int
    used_s: float
    manifest: Manifest | None


def check_name(name: str) -> str:
    """The name, if a snapshot may have it. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a snapshot cannot be called {name!r}",
            cause="allowed are 1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or digit",
        )
    return name


class Snapshots:
    """The named snapshots of one project.

    Args:
        state: The state directory.
        project: The project's name.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, state: Path, project: str) -> None:
        self.project = project
        self.folder = _root(state) / _folder_name(project)

    def all(self) -> list[Named]:
        """Every one, by name."""
        return _in_folder(self.folder)

    def find(self, name: str) -> Named:
        """The snapshot of this name. Raises SnapshotNotFound."""
        path = self._path(name)
        if not path.is_file():
            raise self.not_found(name)
        return _look(path)

    def not_found(self, name: str, others: Sequence[str] = ()) -> SnapshotNotFound:
        """The error for one that is not there.

        Args:
            name: Its name.
            others: What else could have been meant.
        """
        from difflib import get_close_matches

        close = get_close_matches(name, [*(one.name for one in self.all()), *others], n=2)
        return SnapshotNotFound(
            f'project {self.project} has no snapshot "{name}"',
            fix=[
                *([f"did you mean {' or '.join(close)}?"] if close else []),
                "envctl snapshot ls shows those there are",
            ],
            subject={"snapshot": name, "project": self.project},
            state="nothing was changed",
        )

    @contextmanager
    def reading(self, name: str, max_bytes: int = _NO_LIMIT) -> Iterator[Reader]:
        """A snapshot, open. Raises SnapshotNotFound, SnapshotInvalid."""
        path = self.find(name).path
        try:
            file = path.open("rb")
        except OSError as error:
            raise _cannot_read(path, error) from error
        with file, _named(path):
            yield Reader(file, max_bytes)

    @contextmanager
    def writing(self, name: str, *, replace: bool) -> Iterator[BinaryIO]:
        """A new file, which has the name after the block, on the disk and whole.

        Raises:
            WouldOverwrite: There is one of this name, which is not to be replaced.
            CannotWrite: There is no room, or no right.
        """
        path = self._path(name)
        if not replace and path.exists():
            raise self._exists(name)
        try:
            paths.make_private(self.folder)
            files.sweep(self.folder)
            with _new_file(path, replace=replace) as file:
                yield file
        except FileExistsError:
            raise self._exists(name) from None
        except OSError as error:
            raise files.cannot_write(path, error) from error

    def remove(self, name: str) -> Named:
        """Remove it, and what writers that were killed have left. Raises SnapshotNotFound."""
        found = self.find(name)
        found.path.unlink(missing_ok=True)
        files.sweep(self.folder)
        return found

    def used(self, name: str) -> None:
        """Note that it was just used."""
        with suppress(OSError):
            os.utime(self._path(name))

    # -- to and from other places --------------------------------------------------------------------------------------

    def export(self, name: str, target: Path, *, replace: bool) -> Named:
        """Copy it to a file, once it is proven to be undamaged.

        Raises:
            SnapshotNotFound, SnapshotInvalid: As `reading`.
            WouldOverwrite: The file is there.
            CannotWrite: It cannot be written.
        """
        found = self.find(name)
        with self.reading(name) as reader:
            reader.prove()
        try:
            with found.path.open("rb") as source, _new_file(target, replace=replace) as file:
                _copy(source, file, _NO_LIMIT)
        except FileExistsError:
            raise WouldOverwrite(
                f"{target} is there already", subject={"path": str(target)}, state="unchanged"
            ) from None
        except OSError as error:
            raise files.cannot_write(target, error) from error
        return found

    def take_in(self, source: Path, name: str | None, *, max_bytes: int, replace: bool) -> Named:
        """Copy a file into the store, once every byte of it is proven.

        Args:
            source: The file.
            name: What it is called here; None for what it was called.
            max_bytes: How much it may hold, unpacked.
            replace: Whether it may take the place of another.

        Raises:
            SnapshotInvalid: It cannot be read, or is no snapshot, or damaged, or larger.
            WouldOverwrite: There is one of this name.
            CannotWrite: There is no room.
        """
        if name is None:
            with _opened(source) as file, _named(source):
                name = check_name(Reader(file, max_bytes).manifest.name)
        with self.writing(name, replace=replace) as own, _named(source):
            with _opened(source) as file:
                _copy(file, own, max_bytes + _PIECE)  # packed it may be a little larger
            Reader(own, max_bytes).prove()
        return self.find(name)

    def _path(self, name: str) -> Path:
        return self.folder / f"{check_name(name)}{_SUFFIX}"

    def _exists(self, name: str) -> WouldOverwrite:
        return WouldOverwrite(
            f'project {self.project} has a snapshot "{name}" already',
            fix=["--force replaces it", "or choose another name"],
            subject={"snapshot": name},
            state="unchanged",
        )


def everywhere(state: Path) -> list[Named]:
    """The named snapshots of all projects."""
    root = _root(state)
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [one for folder in folders for one in _in_folder(folder)]


def _root(state: Path) -> Path:
    return state / "snapshots"


def _folder_name(project: str) -> str:
    """A folder's name, never that of another project."""
    from hashlib import sha256

    short = naming.slug(project)[:40].strip("-")
    if short == project:
        return short
    return f"{short or 'project'}-{sha256(project.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _in_folder(folder: Path) -> list[Named]:
    found = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
    return [_look(path) for path in found if _NAME.fullmatch(path.name.removesuffix(_SUFFIX))]


def _look(path: Path) -> Named:
    manifest, size, used_s = None, 0, 0.0
    with suppress(OSError, SnapshotInvalid), path.open("rb") as file:
        status = os.fstat(file.fileno())
        size, used_s = status.st_size, status.st_mtime
        manifest = Reader(file, _NO_LIMIT).manifest
    return Named(path.name.removesuffix(_SUFFIX), path, size, used_s, manifest)


@contextmanager
def _new_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A file for its owner alone, which has its name, and is on the disk, once the block has ended without an error."""
    temporary = files.temporary(path)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w+b") as file:
            os.fchmod(fd, 0o600)
            yield file
            file.flush()
            os.fsync(fd)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # never in the place of another
        files.sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have an error say which file it is about."""
    try:
        yield
    except SnapshotInvalid as error:
        error.message = f"{path} is no snapshot that can be used"
        error.args = (error.message,)
        error.subject["path"] = str(path)
        raise


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file from anywhere. Raises SnapshotInvalid."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SnapshotInvalid(f"{path} is not a file", state="nothing was changed")
        file = path.open("rb")
    except OSError as error:
        raise _cannot_read(path, error) from None
    with file:
        yield file


def _copy(source: BinaryIO, target: BinaryIO, most: int) -> None:
    copied = 0
    while piece := source.read(_PIECE):
        copied += len(piece)
        if copied > most:
            raise SnapshotInvalid(
                "it is too large",
                cause=f"it has more than the {most} bytes that are allowed",
                fix=["--max-size takes another limit: --max-size 50g"],
                state="nothing was changed",
            )
        target.write(piece)


def _cannot_read(path: Path, error: OSError) -> SnapshotInvalid:
    return SnapshotInvalid(
        f"{path} cannot be read", cause=(error.strerror or str(error)).lower(), state="nothing was changed"
    )
