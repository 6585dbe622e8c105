"""A folder packed into one file, from which copies of it are made fast.

Hundreds of small files cost most by being opened: one file that is mapped into memory halves that. Equal contents are
stored once, zeros at a file's end not at all (they become a hole), and where the file system can share blocks between
files (btrfs, XFS), large files are shared rather than copied.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import stat
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

_MAGIC = b"envctl folder 1\n"
_HEADER = struct.Struct("<16sQ32s")  # magic, length of the index, its SHA-256
_BLOCK = 4096  # file systems share whole blocks only
_WORTH_SHARING = 16 * 1024
_WORTH_A_HOLE = 64 * 1024
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


# -- packing -----------------------------------------------------------------------------------------------------------


def pack(folder: str, target: BinaryIO, meta: dict[str, Any], leave_out: Callable[[str], bool]) -> None:
    """Write the folder's files into `target`, which is empty.

    Args:
        folder: The folder; it holds only folders and plain files, else ValueError.
        target: Where to.
        meta: Anything JSON takes; `open_packed` gives it back.
        leave_out: Says of a file's relative path whether it is not wanted.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It holds something else: a symbolic link could lead anywhere.
    """
    folders, names = _listing(folder)
    wanted = [name for name in names if not leave_out(name)]
    contents: dict[bytes, tuple[int, int]] = {}  # digest → offset from the data's start, length
    index, end = [], 0
    pieces: list[bytes] = []
    for name in wanted:
        data = _read(f"{folder}/{name}")
        stored = _without_zeros(data)
        key = sha256(stored).digest()
        if key not in contents:
            contents[key] = (end, len(stored))
            pieces.append(stored + bytes(-len(stored) % _BLOCK))
            end += len(pieces[-1])
        index.append([name, len(data), *contents[key]])
    described = json.dumps({"folders": folders, "files": index, "meta": meta}).encode()
    head = _HEADER.pack(_MAGIC, len(described), sha256(described).digest()) + described
    target.write(head + bytes(-len(head) % _BLOCK))
    target.writelines(pieces)
    target.flush()


def _listing(folder: str) -> tuple[list[str], list[str]]:
    folders: list[str] = []
    names: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(f"{folder}/{below}") as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                    waiting.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(name)
                else:
                    raise ValueError(f"{name} is neither a folder nor a plain file")
    return folders, names


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{path} is not a plain file")
        return file.read()


def _without_zeros(data: bytes) -> bytes:
    """The content without a long run of zeros at its end, in whole blocks."""
    if len(data) < _WORTH_A_HOLE:
        return data
    used = len(data.rstrip(b"\0"))
    used += -used % _BLOCK
    return data[:used] if len(data) - used >= _WORTH_A_HOLE else data


# -- opening -----------------------------------------------------------------------------------------------------------


def open_packed(fd: int) -> Packed:
    """What an open file holds. Raises Damaged."""
    head = os.pread(fd, _HEADER.size, 0)
    if len(head) < _HEADER.size:
        raise Damaged("it is too short")
    magic, length, digest = _HEADER.unpack(head)
    size = os.fstat(fd).st_size
    if magic != _MAGIC or length > size:
        raise Damaged("it is no packed folder")
    described = os.pread(fd, length, _HEADER.size)
    if sha256(described).digest() != digest:
        raise Damaged("its index is damaged")
    index = json.loads(described)
    start = _HEADER.size + length
    start += -start % _BLOCK
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
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    sharing = True
    with mmap.mmap(packed.fd, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
        for file in packed.files:
            fd = os.open(file.path, flags, 0o600, dir_fd=top)
            try:
                large = file.length >= _WORTH_SHARING and not file.length % _BLOCK
                if large and sharing:
                    sharing = _share(packed.fd, fd, file)
                if not (large and sharing):
                    _write(fd, view[file.offset : file.offset + file.length])
                if file.size != file.length:
                    os.ftruncate(fd, file.size)
                if owner is not None:
                    os.fchown(fd, *owner)
            finally:
                os.close(fd)


def _share(source: int, target: int, file: Entry) -> bool:
    """Let the file have the same blocks as the packed one; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, file.offset, file.length, 0))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return False
    return True


def _write(fd: int, data: memoryview) -> None:
    while data:
        with data:
            rest = data[os.write(fd, data) :]
        data = rest


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
