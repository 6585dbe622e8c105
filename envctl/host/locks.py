"""Locks between processes for operations that take long: one per environment, and some for the whole machine.

`flock` on files that are never removed (removing one lets two processes hold "the same" lock). The kernel gives a lock
back when its holder dies, however it dies. A lock passed on to a child (`pass_fds`) stays held until both are gone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from envctl.errors import Busy
from envctl.host import clock, files, owner, paths
from envctl.host.files import cannot_write
from envctl.model import Owner

OnWait = Callable[[str], None]

_FIRST_NOTICE_S = 2.0
_NEXT_NOTICE_S = 30.0
_LONGEST_PAUSE_S = 0.05
_LOCK_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class Lock(NamedTuple):
    """A lock that is held.

    Attributes:
        path: Its file.
        fd: Its file descriptor; a child that gets it through `pass_fds` keeps the lock held while it lives.
    """

    path: Path
    fd: int


class Holder(NamedTuple):
    """Who holds a lock, as the holder wrote it down.

    Attributes:
        owner: The process that took it.
        purpose: What for: "envctl up".
        since_s: When, in seconds since 1970.
    """

    owner: Owner
    purpose: str
    since_s: float

    def __str__(self) -> str:
        seconds = max(0, round(clock.now().timestamp() - self.since_s))
        if not owner.is_alive(self.owner):
            return f"a program that pid {self.owner.pid} ({self.purpose}, {seconds} s ago) left running"
        stopped = ", stopped" if owner.is_stopped(self.owner) else ""
        return f"pid {self.owner.pid} ({self.purpose}, {seconds} s{stopped})"


def environment_lock(
    state: Path, name: str, *, timeout_s: float, purpose: str, on_wait: OnWait | None = None
) -> AbstractContextManager[Lock]:
    """Holds the lock of one environment; to be used with `with`.

    Args:
        state: The state directory; it exists.
        name: The environment's name.
        timeout_s: How long to wait at most, in seconds; 0 tries once.
        purpose: What for; waiters show it.
        on_wait: Gets a sentence about the holder after 2 s of waiting and every 30 s from then on.

    Raises:
        Busy: The time is up; the error names the holder.
        CannotWrite: The lock file cannot be made.
    """
    file = f"env-{paths.check_name(name)}.lock"
    return _hold(state, file, f'environment "{name}"', timeout_s, purpose, on_wait)


def machine_lock(
    state: Path, name: str, *, timeout_s: float, purpose: str, on_wait: OnWait | None = None
) -> AbstractContextManager[Lock]:
    """Holds a lock for something all environments share, as "build-<digest>"; else like `environment_lock`."""
    if not _LOCK_NAME.fullmatch(name):
        raise ValueError(f"not a lock name: {name!r}")
    return _hold(state, f"machine-{name}.lock", f'"{name}"', timeout_s, purpose, on_wait)


@contextmanager
def _hold(state: Path, file: str, what: str, timeout_s: float, purpose: str, on_wait: OnWait | None) -> Iterator[Lock]:
    path = paths.locks_dir(state) / file
    fd = _wait_for(path, what, timeout_s, on_wait)
    try:
        _write_holder(fd, purpose)
        yield Lock(path, fd)
    finally:
        # Closed, not unlocked: an engine process that outlives us and has the descriptor goes on holding the lock.
        os.close(fd)


def _wait_for(path: Path, what: str, timeout_s: float, on_wait: OnWait | None) -> int:
    start = clock.monotonic_s()
    notice_s = _FIRST_NOTICE_S
    pause_s = 0.001
    while (fd := _try(path)) is None:
        waited_s = clock.monotonic_s() - start
        if waited_s >= timeout_s:
            raise _busy(path, what, timeout_s)
        if on_wait is not None and waited_s >= notice_s:
            on_wait(f"waiting for {holder_text(path)}")
            notice_s += _NEXT_NOTICE_S
        clock.sleep_s(min(pause_s, timeout_s - waited_s))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
    return fd


def _try(path: Path) -> int | None:
    """One try; the descriptor of the locked file, or None while somebody else has it."""
    try:
        fd = _open(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(fd, path):
            return fd
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(fd)
        raise cannot_write(path, error) from error
    os.close(fd)
    return None


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        paths.make_private(path.parent)
        fd = os.open(path, flags, 0o600)
    files.owner_only(fd)
    return fd


def _same_file(fd: int, path: Path) -> bool:
    """Whether the file we locked is still the one of that name: somebody may have cleaned the directory by hand."""
    ours = os.fstat(fd)
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


def _write_holder(fd: int, purpose: str) -> None:
    """Says who holds it. For people only, so a full disk does not matter: the lock itself is held."""
    me = owner.current()
    info = {"pid": me.pid, "boot_id": me.boot_id, "start_ticks": me.start_ticks, "purpose": purpose}
    data = json.dumps(info | {"since_s": clock.now().timestamp()}).encode()
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise


def holder(path: Path) -> Holder | None:
    """Who wrote into the lock file last, or None where nothing sensible is there."""
    try:
        info = json.loads(path.read_bytes())
        whose = Owner(str(info["boot_id"]), int(info["pid"]), int(info["start_ticks"]))
        return Holder(whose, str(info["purpose"]), float(info["since_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def holder_text(path: Path) -> str:
    """The holder in words, "pid 4121 (envctl up, 37 s)"."""
    return str(holder(path) or "another envctl process")


def _busy(path: Path, what: str, timeout_s: float) -> Busy:
    found = holder(path)
    return Busy(
        f"{what} is in use by {found or 'another envctl process'}",
        cause=f"it was not released within {timeout_s:g} s",
        fix=["wait for that process and try again, or raise --timeout"],
        subject={"pid": found.owner.pid, "purpose": found.purpose} if found else {},
        state="unchanged",
    )
