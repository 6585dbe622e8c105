"""Writing and removing files so that a crash, a full disk or somebody's symbolic link does no harm."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from envctl.errors import CannotWrite
from envctl.host import clock, owner
from envctl.model import Owner

_TEMPORARY = re.compile(r"\..+\.(\d+)-(\d+)-[0-9a-f]{8}\.tmp")
_STALE_S = 60.0
_MANY_FILES, _THREADS = 64, 4
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operating system does not allow it",
    errno.ENOENT: "its directory does not exist",
    errno.ENOTDIR: "a part of its path is not a directory",
    errno.EEXIST: "something else has its name",
}


def write_atomic(path: Path, content: str | bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Writes a file so that readers, and a crash at any moment, see either the old content or the new.

    The content goes to a temporary file in the same directory, which has its final mode from the start whatever the
    umask, reaches the disk, and then takes the name; a symbolic link of that name is replaced, not followed.

    Args:
        path: The file.
        content: Text is written as UTF-8.
        mode: Its mode.
        durable: Whether it must survive a power failure. What only matters until the machine is started again need not,
            and is written without waiting for the disk.

    Raises:
        CannotWrite: With the cause, and where the disk is full the bytes needed and free. Nothing half written stays.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = temporary(path)
    try:
        try:
            _write_new(unfinished, data, mode, durable=durable)
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        raise cannot_write(path, error, needed_bytes=len(data)) from error


def append(path: Path, text: str) -> None:
    """Adds whole lines to a file, in one write and on a line of their own; makes it, for its owner alone, if absent.

    Raises:
        CannotWrite: With the cause.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            last = os.pread(fd, 1, size - 1) if size else b"\n"
            file.write((b"" if last == b"\n" else b"\n") + text.encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def owner_only(fd: int) -> None:
    """Gives an open file of ours the mode 0600, where a umask took rights from its owner too when it was made."""
    if os.fstat(fd).st_mode & 0o777 != 0o600:
        with suppress(OSError):  # somebody else's, or read-only
            os.fchmod(fd, 0o600)


def temporary(path: Path) -> Path:
    """A name beside `path` for a file that is to take its place; `sweep` removes it where nobody does."""
    return path.with_name(_temporary_name(path.name))


def _temporary_name(name: str) -> str:
    """A name that says whose it is, so that `sweep` knows when nobody will finish it."""
    me = owner.current()
    return f".{name[:100]}.{me.pid}-{me.start_ticks}-{os.urandom(4).hex()}.tmp"


def _write_new(path: Path, data: bytes, mode: int, *, durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, mode)
    try:
        os.fchmod(fd, mode)  # gives back what the umask took; it was never wider than `mode`
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Makes new and removed names of a directory survive a power failure. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network and FUSE file systems cannot do it
            raise
    finally:
        os.close(fd)


def sweep(directory: Path) -> int:
    """Removes temporary files a minute old whose writer is dead; returns how many. Never raises: it is housekeeping."""
    removed = 0
    newest_s = clock.now().timestamp() - _STALE_S
    try:
        found = list(directory.iterdir())
    except OSError:
        return 0
    for file in found:
        match = _TEMPORARY.fullmatch(file.name)
        if not match or owner.is_alive(Owner("", int(match[1]), int(match[2]))):
            continue
        try:
            if file.lstat().st_mtime > newest_s:  # of a process in another container, perhaps, that we cannot see
                continue
            file.unlink()
            removed += 1
        except OSError:
            continue
    return removed


def remove_tree(path: Path, below: Path) -> tuple[str, ...]:
    """Removes a file or a whole folder; what is already gone is fine. Symbolic links are removed, never followed.

    Args:
        path: What to remove.
        below: The directory it must be inside of.

    Returns:
        What could not be removed, as "path: reason".

    Raises:
        ValueError: `path` is not inside `below`.
    """
    real = path.parent.resolve() / path.name
    if path.name in {"", "..", "."} or below.resolve() not in real.parents:
        raise ValueError(f"{path} is not inside {below}")
    leftovers: list[str] = []

    def note(error: OSError, name: str | None = None) -> None:
        if error.errno != errno.ENOENT:
            leftovers.append(f"{name or error.filename}: {error.strerror}")

    if real.is_dir() and not real.is_symlink():
        for folder, folders, files, fd in os.fwalk(real, topdown=False, onerror=note, follow_symlinks=False):
            for name, error in _remove_entries((*files, *folders), fd):
                note(error, f"{folder}/{name}")
    try:
        _remove_entry(str(real), None)
    except OSError as error:
        note(error, str(real))
    return tuple(leftovers)


def _remove_entries(names: Sequence[str], dir_fd: int) -> list[tuple[str, OSError]]:
    """Removes files and empty folders; those that could not be removed, each with the reason.

    Many are removed by several threads: the kernel waits where a file's content has reached the disk (0.15 ms for each
    on ext4, so that a data folder of 1000 files takes 170 ms one by one, 75 ms by four).
    """
    failed: list[tuple[str, OSError]] = []

    def remove(some: Sequence[str]) -> None:
        for name in some:
            try:
                _remove_entry(name, dir_fd)
            except OSError as error:
                failed.append((name, error))

    if len(names) < _MANY_FILES:
        remove(names)
        return failed
    helpers = [Thread(target=remove, args=(names[first::_THREADS],), daemon=True) for first in range(1, _THREADS)]
    for helper in helpers:
        helper.start()
    remove(names[::_THREADS])
    for helper in helpers:
        helper.join()
    return failed


def _remove_entry(name: str, dir_fd: int | None) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=dir_fd)


def cannot_write(
    path: Path, error: OSError, needed_bytes: int | None = None, *, variable: str = "ENVCTL_STATE_DIR"
) -> CannotWrite:
    """The error to raise when the operating system refused to write `path`.

    Args:
        path: What was to be written.
        error: What the system said.
        needed_bytes: How much room it needs, where that is known.
        variable: Names another place for such files.
    """
    number = error.errno or 0
    cause = _CAUSES.get(number, (error.strerror or str(error)).lower())
    fix = [f"check {path.parent}", f"or set {variable} to a directory that can be written"]
    subject: dict[str, object] = {"path": str(path)}
    if number in {errno.ENOSPC, errno.EDQUOT}:
        free = free_bytes(path)
        needed = f"{needed_bytes} bytes needed, " if needed_bytes is not None else ""
        cause += f" ({needed}{free if free is not None else 'an unknown number of'} bytes free)"
        subject |= {"needed_bytes": needed_bytes, "free_bytes": free}
        fix[0] = f"free some space on the disk of {path.parent}"
    return CannotWrite(f"cannot write {path}", cause=cause, fix=fix, subject=subject)


def free_bytes(path: Path) -> int | None:
    """Bytes this user may still write on the disk that holds `path` (or its nearest existing parent), if known."""
    for place in (path, *path.parents):
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        return disk.f_bavail * disk.f_frsize
    return None
