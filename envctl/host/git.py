"""Where we stand: the checkout and its branch, read from git's own files.

Asking the `git` program costs some milliseconds per question; the files answer in a fraction of one. Their layout is
that of gitrepository-layout(5). Where the files do not tell (the reftable format), `git` is asked once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from envctl.errors import UsageError
from envctl.host.ci import detect
from envctl.model import BranchSource, Checkout

GIT_TIMEOUT_S = 5.0
"""Longest wait for the `git` program, where it has to be asked, seconds."""

_COMMIT_DIGITS = 12
_HEADS = "refs/heads/"
_ELSEWHERE = ".invalid"  # what HEAD says in a reftable repository, so that old programs see no branch


class _Repository(NamedTuple):
    root: Path
    git_dir: Path | None  # None: no git, or git's files cannot be read


class _Head(NamedTuple):
    branch: str = ""
    commit: str = ""


def find_checkout(start: Path, environ: Mapping[str, str], branch: str | None = None) -> Checkout:
    """The checkout around the folder `start`, and its branch.

    The branch is, in this order: the option; what git has checked out (also while it is rebased or bisected, when the
    head is detached for a while); what the CI system says, since CI checkouts are often detached; the short commit of a
    detached head; "" without git. A CI variable left behind in a shell therefore never hides the branch that is there.

    Args:
        start: An existing folder, usually the current one.
        environ: The caller's environment variables; `GIT_DIR`, `GIT_WORK_TREE` and `GIT_CEILING_DIRECTORIES` count as
            they do for git.
        branch: The `--branch` option.

    Raises:
        UsageError: `branch` is empty or holds control characters.
    """
    repository = _find(start.resolve(), environ)
    ci = detect(environ)
    head = _head(repository, environ) if branch is None else _Head()
    name, source = _choose(branch, head, ci.branch if ci else None)
    folder = _folder(repository)
    return Checkout(str(repository.root), folder, name, source, ci.name if ci else None)


def _choose(option: str | None, head: _Head, ci_branch: str | None) -> tuple[str, BranchSource]:
    if option is not None:
        return _checked(option), BranchSource.OPTION
    if head.branch:
        return head.branch, BranchSource.GIT
    if ci_branch:
        return _readable(os.fsencode(ci_branch)), BranchSource.CI
    if head.commit:
        return head.commit[:_COMMIT_DIGITS], BranchSource.DETACHED
    return "", BranchSource.NONE


def _checked(option: str) -> str:
    if not option or any(character < " " or character == "\x7f" for character in option):
        problem = "holds control characters" if option else "is empty"
        raise UsageError(f"--branch {problem}", fix=["give the branch's name, as `git branch` prints it"])
    return _readable(os.fsencode(option))


def _readable(name: bytes) -> str:
    r"""Bytes that are not UTF-8 become `\xff`; git forbids backslashes in names, so no two names meet."""
    return name.decode("utf-8", "backslashreplace")


# -- the repository ------------------------------------------------------------------------------------------------


def _find(start: Path, environ: Mapping[str, str]) -> _Repository:
    found = _walk_up(start, environ)
    if not environ.get("GIT_DIR"):
        return found
    git_dir = start / environ["GIT_DIR"]
    if not _is_git_dir(git_dir):
        return found  # a hook's relative GIT_DIR, after `cd`
    git_dir = git_dir.resolve()
    if environ.get("GIT_WORK_TREE"):
        return _Repository((start / environ["GIT_WORK_TREE"]).resolve(), git_dir)
    # A hook sets GIT_DIR to the repository it stands in; git would take the current folder for the root then, which
    # in a subfolder would be another environment than outside of the hook.
    if found.git_dir is not None and found.git_dir.resolve() == git_dir:
        return found
    return _Repository(start, git_dir)


def _walk_up(start: Path, environ: Mapping[str, str]) -> _Repository:
    for folder in _upwards(start, environ.get("GIT_CEILING_DIRECTORIES", "")):
        entry = folder / ".git"
        if S_ISREG(_mode(entry)):
            # Git stops at such a file, readable or not: what is above is another repository.
            return _Repository(folder, _linked_git_dir(entry))
        if _is_closed(entry):
            return _Repository(folder, None)
        if _is_git_dir(entry):
            return _Repository(folder, entry)
        if folder.name != ".git" and _is_git_dir(folder):
            return _Repository(folder, folder)  # bare
    return _Repository(start, None)


def _upwards(start: Path, ceilings: str) -> Iterator[Path]:
    yield start
    stop = {Path(ceiling).resolve() for ceiling in ceilings.split(os.pathsep) if ceiling}
    for folder in start.parents:
        if folder in stop:
            return
        yield folder


def _is_git_dir(path: Path) -> bool:
    """Whether `path` is a git directory by git's own test: HEAD, and objects and refs in it or in its common one."""
    if not _mode(path / "HEAD", follow=False):
        return False
    common = _common_dir(path)
    return S_ISDIR(_mode(common / "objects")) and bool(_mode(common / "refs"))


def _mode(path: Path, *, follow: bool = True) -> int:
    """Type and permissions, or 0 for what is not there, may not be looked at, or is no possible path."""
    try:
        return path.stat(follow_symlinks=follow).st_mode
    except (OSError, ValueError):
        return 0


def _is_closed(path: Path) -> bool:
    """Whether `path` is a folder whose contents this process may not look at."""
    try:
        (path / "HEAD").lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _linked_git_dir(file: Path) -> Path | None:
    """Where a `.git` file (linked worktree, submodule) points, or None when it points nowhere."""
    text = _read(file)
    if not text.startswith(b"gitdir:"):
        return None
    git_dir = file.parent / os.fsdecode(text.removeprefix(b"gitdir:").strip())
    return git_dir if _is_git_dir(git_dir) else None


def _common_dir(git_dir: Path) -> Path:
    """The main repository's directory for a linked worktree's; `git_dir` itself otherwise."""
    return git_dir / os.fsdecode(_read(git_dir / "commondir").strip())


def _folder(repository: _Repository) -> str:
    """The project's default name: the folder's, of a linked worktree the main work tree's.

    A worktree of a bare repository takes that one's name: "shop" for `shop.git` and for `shop/.bare`.
    """
    git_dir = repository.git_dir
    if git_dir is None:
        return repository.root.name
    is_bare = git_dir == repository.root
    if not is_bare and not _read(git_dir / "commondir"):
        return repository.root.name
    common = _common_dir(git_dir).resolve()
    name = common.parent.name if common.name.startswith(".") else common.name.removesuffix(".git")
    return name or repository.root.name


# -- its head ------------------------------------------------------------------------------------------------------


def _head(repository: _Repository, environ: Mapping[str, str]) -> _Head:
    git_dir = repository.git_dir
    if git_dir is None:
        return _Head()
    head = _read_head(git_dir / "HEAD")
    if head.branch == _ELSEWHERE:
        return _ask_git(git_dir, environ)
    if not head.branch:
        return _Head(_interrupted_branch(git_dir), head.commit)
    return head


def _read_head(file: Path) -> _Head:
    """HEAD as git writes it: `ref: refs/heads/x`, a commit, or (long ago) a symbolic link to `refs/heads/x`."""
    try:
        target = os.fsencode(file.readlink())
    except OSError:
        target = b""
    return _parse_head(b"ref: " + target if target.startswith(b"refs/") else _read(file))


def _parse_head(text: bytes) -> _Head:
    line = _readable(text.strip(b" \t\r\n"))
    if line.startswith("ref:"):
        reference = line.removeprefix("ref:").strip(" \t")
        return _Head(branch=reference.removeprefix(_HEADS).removeprefix("refs/"))
    return _Head(commit=line) if _is_commit(line) else _Head()


def _is_commit(text: str) -> bool:
    """Whether `text` is a whole commit id, SHA-1 or SHA-256."""
    return len(text) in {40, 64} and set(text) <= set("0123456789abcdef")


def _interrupted_branch(git_dir: Path) -> str:
    """The branch that a rebase or bisect works on, or "". Its environment stays the same meanwhile."""
    for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
        reference = _readable(_read(git_dir / name).strip(b"\n"))
        if reference.startswith(_HEADS):
            return reference.removeprefix(_HEADS)
    bisected = _readable(_read(git_dir / "BISECT_START").strip(b"\n"))
    return "" if _is_commit(bisected) else bisected


def _read(file: Path) -> bytes:
    """The file's bytes; nothing where it is absent or may not be read, as git then sees nothing either."""
    try:
        return file.read_bytes()
    except (OSError, ValueError):
        return b""


def _ask_git(git_dir: Path, environ: Mapping[str, str]) -> _Head:
    """The head by git's own word; an empty one where git is absent, too old, too slow or unwilling."""
    import subprocess  # costs 10 ms, and almost nobody comes here

    for question in (["symbolic-ref", "--quiet", "HEAD"], ["rev-parse", "--verify", "--quiet", "HEAD"]):
        command = ["git", f"--git-dir={git_dir}", *question]
        try:
            answer = subprocess.run(
                command,
                env=dict(environ),
                capture_output=True,
                timeout=GIT_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            return _Head()
        if answer.returncode == 0:
            text = answer.stdout if question[0] == "rev-parse" else b"ref: " + answer.stdout
            head = _parse_head(text)
            return head if head.branch != _ELSEWHERE else _Head()
    return _Head()
