"""A folder packed into one file (by `packing`), from which copies of it are made fast.

Hundreds of small files cost most by being opened: one file that is mapped into memory halves that. Equal contents are
stored once, zeros at a file's end not at all (they become a hole), and where the file system can share blocks between
files (btrfs, XFS), large files are shared rather than copied. Two threads take a quarter less time than one; more
would only wait for the file system.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from threading import Thread
from typing import Any, NamedTuple

MAGIC = b"envctl folder 1\n"
HEADER = struct.Struct("<16sQ32s")  # magic, length of the index, its SHA-256
BLOCK = 4096  # file systems share whole blocks only
LARGE = 1024**2
_WORTH_SHARING = 16 * 1024
_WORTH_A_THREAD = 64
_FICLONERANGE = 0x4020940D  # linux/fs.h
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000


class Damaged(ValueError):
    """The file is not what was packed."""


class Entry(NamedTuple):
    """A packed file: `length` bytes at `offset`, then zeros up to `size`."""

    path: str
    size: int
    offset: int
    length: int


class Packed(NamedTuple):
    """A packed folder, open.

    Attributes:
        fd: Its file descriptor.
        folders: Paths of its folders, parents first, without itself.
        files: Its files.
        meta: What the packer noted.
    """

    fd: int
    folders: tuple[str, ...]
    files: tuple[Entry, ...]
    meta: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """Bytes a copy takes."""
        return sum(file.length for file in self.files)


# -- opening -----------------------------------------------------------------------------------------------------------


def open_packed(fd: int) -> Packed:
    """What an open file holds. Raises Damaged."""
    head = os.pread(fd, HEADER.size, 0)
    if len(head) < HEADER.size:
        raise Damaged("it is too short")
    magic, length, digest = HEADER.unpack(head)
    size = os.fstat(fd).st_size
    if magic != MAGIC or length > size:
        raise Damaged("it is no packed folder")
    described = os.pread(fd, length, HEADER.size)
    if sha256(described).digest() != digest:
        raise Damaged("its index is damaged")
    index = json.loads(described)
    start = HEADER.size + length
    start += -start % BLOCK
    files = tuple(Entry(path, whole, start + offset, kept) for path, whole, offset, kept in index["files"])
    if any(file.offset + file.length > size for file in files):
        raise Damaged("it was cut off")
    return Packed(fd, tuple(index["folders"]), files, index["meta"])


# -- unpacking ---------------------------------------------------------------------------------------------------------


def unpack(packed: Packed, folder: str, owner: tuple[int, int] | None = None) -> None:
    """Make a copy: folders with mode 0700, files with 0600, whatever the umask.

    Args:
        packed: What.
        folder: Where to; it exists and is empty.
        owner: User and group of what is made, where those are not ours; the folder itself stays as it is.

    Raises:
        OSError: It cannot be written; what was made so far is left.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for path in packed.folders:
            os.mkdir(path, 0o700, dir_fd=top)
            if os.stat(path, dir_fd=top).st_mode & 0o777 != 0o700:  # a umask that takes rights from the owner too
                os.chmod(path, 0o700, dir_fd=top)
        _write_files(packed, top, owner)
        if owner is not None:
            for path in packed.folders:
                os.chown(path, *owner, dir_fd=top, follow_symlinks=False)
    finally:
        os.close(top)


def _write_files(packed: Packed, top: int, owner: tuple[int, int] | None) -> None:
    with mmap.mmap(packed.fd, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
        copying = _Copying(packed, view, top, owner)
        if len(packed.files) < _WORTH_A_THREAD:
            copying.work(from_end=False)
        else:
            helper = Thread(target=copying.work, kwargs={"from_end": True}, daemon=True)
            helper.start()
            try:
                copying.work(from_end=False)
            finally:
                copying.waiting.clear()
                helper.join()
    if copying.error is not None:
        raise copying.error


class _Copying:
    """Files on their way; two threads take them from both ends, so that they seldom make files in the same folder.

    Args:
        packed: Where from,
        view: and the same, mapped.
        top: The folder that they go to.
        owner: Whose they will be, where not ours.
    """

    def __init__(self, packed: Packed, view: memoryview, top: int, owner: tuple[int, int] | None) -> None:
        self._source, self._view, self._top, self._owner = packed.fd, view, top, owner
        self.waiting = deque(packed.files)
        self.error: BaseException | None = None
        self._sharing = True

    def work(self, *, from_end: bool) -> None:
        """Copy until nothing is left, or something went wrong, which is in `error` then."""
        take = self.waiting.pop if from_end else self.waiting.popleft
        try:
            while self.waiting:
                self._copy(take())
        except IndexError:
            return  # the other one took the last
        except BaseException as error:  # noqa: BLE001 - raised where the thread is waited for
            self.error = self.error or error
            self.waiting.clear()

    def _copy(self, file: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(file.path, flags, 0o600, dir_fd=self._top)
        try:
            large = file.length >= _WORTH_SHARING and not file.length % BLOCK
            if large and self._sharing:
                self._sharing = _share(self._source, fd, file)
            if not (large and self._sharing):
                self._write(fd, file)
            if file.size != file.length:
                os.ftruncate(fd, file.size)
            if self._owner is not None:
                os.fchown(fd, *self._owner)
        finally:
            os.close(fd)

    def _write(self, fd: int, file: Entry) -> None:
        if file.length < LARGE:
            _write(fd, self._view[file.offset : file.offset + file.length], 0)
            return
        end = file.offset + file.length
        for start, stop in not_holes(self._source, file.offset, end):
            _write(fd, self._view[start:stop], start - file.offset)
        os.ftruncate(fd, file.length)


def not_holes(fd: int, at: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a stretch of a file that hold something."""
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # a hole up to the end
        stop = min(os.lseek(fd, at, os.SEEK_HOLE), end)
        if at < stop:
            yield at, stop
        at = stop


def _share(source: int, target: int, file: Entry) -> bool:
    """Let the file have the same blocks as the packed one; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, file.offset, file.length, 0))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return False
    return True


def _write(fd: int, data: memoryview, at: int) -> None:
    while data:
        with data:
            written = os.pwrite(fd, data, at)
            rest = data[written:]
        data, at = rest, at + written


def spread(folder: str) -> None:
    """Ask ext4 to place each new folder in here somewhere else on the disk. Never raises.

    ext4 does not use an inode again for minutes after its removal, and looks for others one by one: a thousand files
    made where a thousand were just removed, as `down` and `up` do, take a second instead of 40 ms.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        flags = struct.unpack("=i", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, b"\0" * 4))[0]
        if not flags & _FS_TOPDIR_FL:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("=i", flags | _FS_TOPDIR_FL))
    except OSError:
        pass  # another file system
    finally:
        os.close(fd)
