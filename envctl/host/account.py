"""The user that servers run as where we are root: Postgres refuses root, and no server needs it.

Such a user cannot enter the state directory (0700), so what it needs lies below a *run root*: a folder of root's that
anyone may pass through and nobody else may change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from envctl.errors import StateDenied, UnsafeSetting
from envctl.host.files import cannot_write, remove_tree

RUN_DIR = "ENVCTL_RUN_DIR"
"""The variable that names another run root."""

Account = tuple[int, int]
"""User and group."""

_NAMES = ("envctl", "nobody")
_RUN_ROOTS = ("/var/lib/envctl", "/var/tmp/envctl", "/tmp/envctl", "/dev/shm/envctl")  # noqa: S108 - proved to be ours
_PASSABLE = 0o711


def unprivileged() -> Account | None:
    """The user and group servers run as: `envctl` where the machine has it, else `nobody`; None where we are not root.

    Raises:
        UnsafeSetting: There is no such user; a server is never run as root instead.
    """
    return _account() if os.geteuid() == 0 else None


@cache
def _account() -> Account:
    import pwd

    for name in _NAMES:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid and found.pw_gid:
            return found.pw_uid, found.pw_gid
    raise UnsafeSetting(
        "there is no user to run servers as",
        cause="we are root, and the machine has neither a user `envctl` nor `nobody`",
        fix=["useradd --system --no-create-home envctl", "or run envctl as an ordinary user"],
    )


def may_pass(folder: str, account: Account) -> bool:
    """Whether the account can enter a folder: it and every folder above it grant that."""
    place = os.path.realpath(folder)
    while True:
        if not may(place, account, 0o1):
            return False
        above = os.path.dirname(place)  # noqa: PTH120 - on the fast path
        if above == place:
            return True
        place = above


def may(path: str, account: Account, right: int) -> bool:
    """Whether the mode bits grant the account a right (4 read, 2 write, 1 execute or enter). False where unknown."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on the fast path
    except OSError:
        return False
    user, group = account
    shift = 6 if found.st_uid == user else 3 if found.st_gid == group else 0
    return (found.st_mode >> shift) & right == right


# -- run root ----------------------------------------------------------------------------------------------------------


def run_root(account: Account, *, executable: bool = False) -> Path:
    """The folder for what servers of another user need, made where it is missing.

    Args:
        account: Who must be able to pass through.
        executable: Whether programs are to be run from it.

    Raises:
        StateDenied: No place is safe and usable; the error says why for each.
    """
    refused = []
    for root in _candidates():
        reason = _make(root) or _unfit(root, account, executable=executable)
        if not reason:
            return root
        refused.append(f"{root}: {reason}")
    raise StateDenied(
        "there is no folder for the data of servers that do not run as root",
        cause=refused[-1] if len(refused) == 1 else "none of the usual places can be used",
        evidence=refused,
        fix=[f"set {RUN_DIR} to a folder that belongs to root, with mode 0711", "or run envctl as an ordinary user"],
    )


def run_roots() -> Iterator[Path]:
    """The run roots there are."""
    for root in _candidates():
        if not _not_ours(root):
            yield root


def _candidates() -> list[Path]:
    chosen = os.environ.get(RUN_DIR)
    return [Path(chosen).absolute()] if chosen else [Path(root) for root in _RUN_ROOTS]


def _make(root: Path) -> str:
    """Makes the folder; the reason where that fails."""
    try:
        root.mkdir(mode=_PASSABLE)
    except FileExistsError:
        pass
    except OSError as error:
        return error.strerror or str(error)
    if not _not_ours(root):
        _let_pass(root)
    return ""


def _let_pass(folder: Path) -> None:
    """Gives a folder of ours the mode it should have been made with; a umask, or a kill, may have been in the way."""
    if stat.S_IMODE(folder.lstat().st_mode) == 0o700:
        folder.chmod(_PASSABLE)


def _not_ours(root: Path) -> str:
    """Why the folder cannot be trusted: somebody else could put things in the place of ours."""
    try:
        found = root.lstat()
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return "not a directory"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _unfit(root: Path, account: Account, *, executable: bool) -> str:
    if reason := _not_ours(root):
        return reason
    if not may_pass(str(root), account):
        return f"user {account[0]} cannot enter it"
    disk = os.statvfs(root)
    if disk.f_flag & os.ST_RDONLY:
        return "the file system is read-only"
    if executable and disk.f_flag & os.ST_NOEXEC:
        return "the file system is mounted noexec"
    return "" if os.access(root, os.W_OK) else "it cannot be written"


# -- data --------------------------------------------------------------------------------------------------------------


def data_folder(state: Path, stack_id: str, name: str, *, unprivileged_service: bool) -> Path:
    """Where a service's data is, or will be; nothing is made.

    Args:
        state: The state directory.
        stack_id: The stack.
        name: The service.
        unprivileged_service: Whether the service is not to run as root.

    Raises:
        StateDenied: There is no place for it.
    """
    account = unprivileged() if unprivileged_service else None
    if account is None:
        return state / "stacks" / stack_id / name / "data"
    tail = Path(_digest(state), stack_id, name)
    for root in run_roots():
        if (root / tail).is_dir():
            return root / tail
    return run_root(account) / tail


def data_homes(state: Path, stack_id: str) -> list[Path]:
    """The folders outside the state directory that hold data of a stack, one folder for each service; those there are.

    Args:
        state: The state directory.
        stack_id: The stack.
    """
    tail = Path(_digest(state), stack_id)
    return [root / tail for root in run_roots() if (root / tail).is_dir()]


def make_home(data: Path, account: Account | None) -> None:
    """Makes the folders above a data folder: private ones, or for another user's service those it can pass through.

    Raises:
        CannotWrite: The operating system refused.
    """
    from envctl.host import paths

    try:
        if account is None:
            paths.make_private(data.parent)
        else:
            _make_passable(data.parent)
    except OSError as error:
        raise cannot_write(data.parent, error) from error


def _make_passable(folder: Path) -> None:
    """Makes the folders that are missing below the run root, which exists."""
    for place in (folder.parent, folder):
        with suppress(FileExistsError):
            place.mkdir(mode=_PASSABLE)
        _let_pass(place)


def forget_home(data: Path) -> None:
    """Removes the folders above a removed data folder that are empty now, up to the run root. Never raises.

    What a killed preparation left beside the data goes too: nobody works on a stack that is being removed.
    """
    roots = set(run_roots())
    place = data.parent
    if not roots & set(place.parents):
        return
    for entry in list(place.iterdir()) if place.is_dir() else ():
        if entry.name.startswith("."):
            remove_tree(entry, place)
    while place not in roots:
        try:
            place.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        place = place.parent


def forget_homes(state: Path, stack_id: str) -> None:
    """The same for a stack that is removed, whose folders a start or a removal that was killed has left empty."""
    for root in run_roots():
        forget_home(root / _digest(state) / stack_id / "data")


def _digest(state: Path) -> str:
    return sha256(os.fsencode(os.path.realpath(state))).hexdigest()[:12]
