"""Where envctl keeps its state, and the proof that nobody else can read or change it: it holds passwords."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from envctl.errors import CannotWrite, EnvctlError, StateDenied, UsageError
from envctl.host.files import cannot_write

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def state_dir(environ: Mapping[str, str]) -> Path:
    """The state directory's absolute path; it need not exist.

    ENVCTL_STATE_DIR, else XDG_STATE_HOME/envctl, else HOME/.local/state/envctl, else the same below the home directory
    of the user database. As the XDG base directory specification demands, a relative XDG_STATE_HOME is ignored.

    Raises:
        CannotWrite: None of them is known.
    """
    if chosen := environ.get("ENVCTL_STATE_DIR"):
        return Path(chosen).absolute()
    if (xdg := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(xdg) / "envctl"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        home = _home_of_user()
    return Path(home) / ".local" / "state" / "envctl"


def _home_of_user() -> str:
    import pwd

    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        home = ""
    if not home.startswith("/"):
        raise CannotWrite(
            "there is no directory to keep envctl's state in",
            cause=f"HOME is not set and user {os.getuid()} has no home directory",
            fix=["set ENVCTL_STATE_DIR to a directory that only you can read"],
        )
    return home


def ensure_state_dir(path: Path) -> Path:
    """Creates the state directory, mode 0700 whatever the umask, or proves that the existing one is safe to use.

    Raises:
        StateDenied: It belongs to another user, or others may read or write it.
        CannotWrite: It cannot be created, or something else has its name.
    """
    try:
        make_private(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    check_state_dir(path)
    return path


def check_state_dir(path: Path) -> None:
    """Proves that an existing state directory is ours alone; changes nothing.

    Raises:
        StateDenied: It, or a symbolic link in its place, belongs to another user, or others may read or write it.
        CannotWrite: It does not exist or is no directory.
    """
    try:
        link = path.lstat()
        found = path.stat() if stat.S_ISLNK(link.st_mode) else link
    except OSError as error:
        raise cannot_write(path, error) from error
    me = os.geteuid()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in {me, 0}:
        raise _denied(path, f"it is a symbolic link made by user {link.st_uid}", [f"remove the link: rm {path}"])
    if not stat.S_ISDIR(found.st_mode):
        raise CannotWrite(f"{path} is not a directory", fix=["move it away, or set ENVCTL_STATE_DIR"])
    if found.st_uid != me:
        cause = f"it belongs to user {found.st_uid}, you are user {me}"
        raise _denied(path, cause, [f"sudo chown -R {me}:{os.getegid()} {path}"])
    if open_to := stat.S_IMODE(found.st_mode) & 0o077:
        cause = f"its mode is {stat.S_IMODE(found.st_mode):04o}: others have access ({open_to:03o})"
        raise _denied(path, cause, [f"chmod 700 {path}"])


def _denied(path: Path, cause: str, fix: list[str]) -> EnvctlError:
    return StateDenied(
        f"the state directory {path} is not safe to use",
        cause=cause,
        fix=[*fix, "or set ENVCTL_STATE_DIR to another directory"],
        subject={"path": str(path)},
    )


def make_private(path: Path) -> None:
    """Creates a directory and its missing parents, each with mode 0700 whatever the umask. Raises OSError."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_private(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if stat.S_IMODE(path.stat().st_mode) != 0o700:  # a umask that takes rights from the owner too
        path.chmod(0o700)


def check_name(name: str) -> str:
    """The environment's name, if it can safely be part of a path; raises UsageError otherwise."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of an environment", fix=["`envctl ls` shows the names"])
    return name


def environment_dir(state: Path, name: str) -> Path:
    """Where the files of one environment are."""
    return state / "environments" / check_name(name)


def locks_dir(state: Path) -> Path:
    """Where the lock files are; they stay for ever, they are never removed."""
    return state / "locks"


def reports_dir(state: Path) -> Path:
    """Where tracebacks and other reports for people are."""
    return state / "reports"
