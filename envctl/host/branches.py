"""Whether the branch and the checkout of an environment are still there. "gone" is only said on proof.

An environment whose branch is gone is removed with its data, so whatever cannot be known counts as there:

- A *folder* that is not to be found is gone when the nearest folder above it that is there is the very one that was
  there when the environment was made (same inode), on the file system that held the checkout: then it was removed.
  Else it may only be out of sight: an unplugged disk, an automount whose server is away, another mount namespace (a
  container, a service with a `/tmp` of its own) that shares our state directory but not our folders.
- A *branch* is gone when git says so without any complaint: the checkout is still a work tree of its own, there is no
  such reference, and no worktree has it as its head, which a branch without commits is.
- A folder that is no repository any more proves nothing: a worktree whose repository is on an unplugged disk looks so,
  and a clone that is being made again.
- A submodule proves nothing either: its folder comes and goes with the branches of the repository around it. Nor does
  a bare repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

State = Literal["present", "gone", "unknown"]

LIMIT_S = 5.0
"""Longest wait for a file system, and for each answer of `git`, seconds."""

_MODULES = "/modules/"  # in the path of a submodule's git directory


def mark(checkout: str) -> str:
    """What proves later, should the checkout not be there, that it was removed; "" where nothing could.

    Args:
        checkout: Absolute, resolved path; it exists now.
    """
    folder = Path(checkout)
    try:
        if (folder / ".git").is_file() and _MODULES in (folder / ".git").read_text("utf-8", "replace"):
            return ""
        return " ".join([_file_system(folder), *(str(above.stat().st_ino) for above in folder.parents)])
    except (OSError, ValueError):
        return ""


def checkout_state(checkout: str, mark: str = "") -> State:
    """Whether the checkout's folder is there.

    Args:
        checkout: Absolute path, as it was when the environment was made.
        mark: What `mark` said then. Without it, a folder that is not there is "unknown".
    """
    return _in_time(lambda: _folder_state(Path(checkout), mark))


def branch_state(checkout: str, branch: str, mark: str = "", environ: Mapping[str, str] = os.environ) -> State:
    """Whether the branch is there; "gone" also where its checkout is.

    Args:
        checkout: Absolute path, as it was when the environment was made.
        branch: The branch as git named it then; meaningless for any other source of a branch's name.
        mark: As for `checkout_state`.
        environ: The caller's variables; `GIT_*` among them do not count.
    """
    state = checkout_state(checkout, mark)
    return _ask(checkout, branch, environ) if state == "present" and branch else state


# -- the folder ----------------------------------------------------------------------------------------------------


def _folder_state(folder: Path, mark: str) -> State:
    try:
        folder.lstat()
    except FileNotFoundError:
        return "gone" if _was_removed(folder, mark) else "unknown"
    except (OSError, ValueError):
        return "unknown"
    return "present"


def _was_removed(folder: Path, mark: str) -> bool:
    file_system, *inodes = mark.split() or [""]
    for above, inode in zip(folder.parents, inodes, strict=False):
        try:
            found = above.stat()
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return str(found.st_ino) == inode and _file_system(above) == file_system
    return False


def _file_system(place: Path) -> str:
    return f"{os.statvfs(place).f_fsid:x}"


def _in_time(look: Callable[[], State]) -> State:
    """A look at a file system, which for ever waits for a server that is away, is given up after a while."""
    from threading import Thread

    found: list[State] = []

    def run() -> None:
        found.append(look())

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return found[0] if found else "unknown"


# -- git -----------------------------------------------------------------------------------------------------------


def _ask(checkout: str, branch: str, environ: Mapping[str, str]) -> State:
    place = _git(checkout, ["rev-parse", "--show-toplevel", "--git-common-dir"], environ)
    if place is None or len(place) != 2 or place[0] != checkout or _MODULES in place[1]:
        return "unknown"
    elsewhere = f"refs/{branch}"  # where HEAD is no branch proper, its name is what stands behind `refs/`
    references = _git(checkout, ["for-each-ref", "--format=%(refname)", "--", "refs/heads", elsewhere], environ)
    worktrees = _git(checkout, ["worktree", "list", "--porcelain"], environ)
    if references is None or worktrees is None:
        return "unknown"
    heads = (line.removeprefix("branch ") for line in worktrees if line.startswith("branch "))
    names = set(map(_composed, (*references, *heads)))
    if names & {f"refs/heads/{branch}", elsewhere}:
        return "present"
    return _in_time(lambda: _loose(Path(checkout, place[1], "refs", "heads", branch)))


def _loose(reference: Path) -> State:
    """Whether a branch that git did not tell of has no file either: git is silent on folders that it cannot read."""
    try:
        return "gone" if S_ISDIR(reference.lstat().st_mode) else "unknown"
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except (OSError, ValueError):
        return "unknown"


def _git(checkout: str, words: Sequence[str], environ: Mapping[str, str]) -> list[str] | None:
    """The lines of git's answer; None where it had any objection."""
    import subprocess

    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", checkout, *words],
            cwd="/",  # a relative entry of PATH leads to nobody's program
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0 or answer.stderr:
        return None
    return answer.stdout.decode("utf-8", "backslashreplace").removesuffix("\n").split("\n")


def _composed(text: str) -> str:
    """In the one spelling that the registry knows names by."""
    if text.isascii():
        return text
    from unicodedata import normalize

    return normalize("NFC", text)
