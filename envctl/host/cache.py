"""What is expensive to make and always the same: made once, kept in the user's cache folder, used by every environment.

    CACHE/KIND/KEY/content    one file
    CACHE/KIND/KEY/complete   written last: the content's size, time and digest; its own time says when it was used

Whoever uses an entry holds its file open, so removing it meanwhile does no harm. Losing the cache costs time only, and
a cache that cannot be used is no error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from envctl.errors import Busy, CannotWrite, EnvctlError, Interrupted
from envctl.host import clock, files, locks, owner, paths, seals
from envctl.host.copy import spread
from envctl.model import Owner

_CONTENT, _COMPLETE = "content", "complete"
_MOST_ENTRIES = 8
_LONGEST_MAKING_S = 180.0
_ABANDONED_S = 600.0

Make = Callable[[BinaryIO], None]
"""Writes an entry's content into an empty file."""


def root(environ: Mapping[str, str]) -> Path | None:
    """The cache folder: ENVCTL_CACHE_DIR, else XDG_CACHE_HOME/envctl, else HOME/.cache/envctl; None without a home."""
    if chosen := environ.get("ENVCTL_CACHE_DIR"):
        return Path(chosen).absolute()
    for variable, below in (("XDG_CACHE_HOME", "envctl"), ("HOME", ".cache/envctl")):
        if (base := environ.get(variable, "")).startswith("/"):
            return Path(base, below)
    return None


@contextmanager
def entry(place: Path | None, kind: str, key: str, make: Make, beside: Path) -> Iterator[int]:
    """Gives an open file with the entry's content, which is made where it is not there; to be used with `with`.

    Args:
        place: The cache folder, or None.
        kind: What sort of thing it is; no more than a few of each are kept.
        key: Digest of everything that shapes the content.
        make: Makes it. While it does, other processes that want the same entry wait.
        beside: A folder that can be written, for the content of one use where the cache cannot be used.

    Raises:
        EnvctlError: What `make` raises.
        OSError: There is no room in `beside` either.
    """
    folder = place / kind / key if place else None
    fd = _opened(folder) if folder else None
    if fd is None and folder and place:
        fd = _made_in_cache(place, folder, make)
    if fd is None:
        fd = _made_once(beside, make)
    try:
        yield fd
    finally:
        os.close(fd)


# -- using -------------------------------------------------------------------------------------------------------------


def _opened(folder: Path) -> int | None:
    """The entry's content, if the entry is whole."""
    try:
        seal = json.loads((folder / _COMPLETE).read_bytes())
        fd = os.open(folder / _CONTENT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if not isinstance(seal, dict) or not seals.fits(fd, seal):
        os.close(fd)
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(folder / _COMPLETE)
    return fd


# -- making ------------------------------------------------------------------------------------------------------------


def _made_in_cache(place: Path, folder: Path, make: Make) -> int | None:
    """The new entry, or the one somebody else made meanwhile; None where the cache cannot be used."""
    name = f"cache-{folder.parent.name}-{folder.name[:40]}"
    try:
        with locks.machine_lock(place, name, timeout_s=_LONGEST_MAKING_S, purpose="preparing data"):
            fd = _opened(folder)
            if fd is None:
                fd = _make_entry(folder, make)
                _tidy(folder.parent, folder)
            return fd
    except (_Unusable, Busy, CannotWrite):
        return None


class _Unusable(Exception):
    """The cache folder cannot hold the entry."""


def _make_entry(folder: Path, make: Make) -> int | None:
    me = owner.current()
    temporary = folder / f".{_CONTENT}.{me.pid}-{me.start_ticks}-{os.urandom(4).hex()}.tmp"
    try:
        paths.make_private(folder)
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")
    except OSError as error:
        raise _Unusable from error
    with file:
        try:
            make(file)
            fd = _seal(folder, temporary, file)
        except OSError as error:
            raise _Unusable from error
        finally:
            temporary.unlink(missing_ok=True)
    return fd


def _seal(folder: Path, temporary: Path, file: BinaryIO) -> int:
    """Give the content its name, and say last that it is whole."""
    file.flush()
    seal = seals.of(file.fileno())
    (folder / _COMPLETE).unlink(missing_ok=True)
    temporary.replace(folder / _CONTENT)
    files.write_atomic(folder / _COMPLETE, json.dumps(seal))
    return os.dup(file.fileno())


def _made_once(beside: Path, make: Make) -> int:
    """The content in a file without a name, for one use."""
    name = beside / f".{_CONTENT}.{os.urandom(8).hex()}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    name.unlink()
    try:
        with os.fdopen(os.dup(fd), "w+b") as file:
            make(file)
    except BaseException:
        os.close(fd)
        raise
    return fd


# -- tidying -----------------------------------------------------------------------------------------------------------


def _tidy(kind: Path, newest: Path) -> None:
    """Remove what was used longest ago, and what nobody finished. Housekeeping: it never raises."""
    with suppress(OSError):
        found = sorted(kind.iterdir(), key=_last_used, reverse=True)
        for folder in found[_MOST_ENTRIES:]:
            if folder != newest and folder.is_dir():
                (folder / _COMPLETE).unlink(missing_ok=True)
                files.remove_tree(folder, kind)
        for folder in found[:_MOST_ENTRIES]:
            files.sweep(folder)


def _last_used(folder: Path) -> float:
    for place in (folder / _COMPLETE, folder):
        with suppress(OSError):
            return place.stat().st_mtime
    return 0.0


# -- working folders ---------------------------------------------------------------------------------------------------


@contextmanager
def working_folder(below: Path, account: tuple[int, int] | None = None) -> Iterator[Path]:
    """A new private folder, removed at the end; those that killed processes left are removed on the way.

    Args:
        below: Where.
        account: Whose it is to be, where not ours.

    Raises:
        OSError: It cannot be made.
    """
    me = owner.current()
    _sweep_folders(below)
    spread(str(below))
    folder = below / f".work.{me.pid}-{me.start_ticks}-{os.urandom(4).hex()}.tmp"
    folder.mkdir(mode=0o700)
    try:
        folder.chmod(0o700)
        if account is not None:
            os.chown(folder, *account)
        yield folder
    finally:
        files.remove_tree(folder, below)


def _sweep_folders(below: Path) -> None:
    newest_s = clock.now().timestamp() - _ABANDONED_S
    with suppress(OSError):
        for folder in list(below.iterdir()):
            match = re.fullmatch(r"\.work\.(\d+)-(\d+)-[0-9a-f]{8}\.tmp", folder.name)
            if not match or owner.is_alive(Owner("", int(match[1]), int(match[2]))):
                continue
            if folder.lstat().st_mtime < newest_s:
                files.remove_tree(folder, below)


# -- short answers -----------------------------------------------------------------------------------------------------


def remembered(place: Path | None, kind: str, key: str, find: Callable[[], str]) -> str:
    """A short text that takes long to find out, from the cache where it is there.

    Raises:
        EnvctlError: What `find` raises.
    """
    known = recall(place, kind, key)
    if known is None:
        known = find()
        remember(place, kind, key, known)
    return known


def recall(place: Path | None, kind: str, key: str) -> str | None:
    """The text that was remembered, or None."""
    if place:
        with suppress(OSError, UnicodeDecodeError):
            if (known := (place / kind / key).read_text("utf-8")).endswith("\n"):  # written to its end
                return known.removesuffix("\n")
    return None


def remember(place: Path | None, kind: str, key: str, text: str) -> None:
    """Have a text in the cache, in the place of an older one. A cache that cannot be used is no error."""
    if place is None:
        return
    file = place / kind / key
    try:
        paths.make_private(file.parent)
        files.write_atomic(file, text + "\n")
    except Interrupted:
        raise
    except (OSError, EnvctlError):
        return  # a cache that can only be read
    with suppress(OSError):
        known = sorted(file.parent.iterdir(), key=_last_used, reverse=True)
        for old in known[_MOST_ENTRIES * 8 :]:
            old.unlink(missing_ok=True)
