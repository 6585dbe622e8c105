"""Programs that another user must be able to run: where it cannot enter their folder, a copy it can reach is used."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from envctl.errors import EngineFailed
from envctl.host import files
from envctl.host.account import Account, may, may_pass, run_root
from envctl.host.cache import working_folder
from envctl.host.files import cannot_write

_COMPLETE = ".complete"
_LARGEST_BYTES = 500 * 1024**2
_MOST_COPIES = 4


class _Seen(NamedTuple):
    path: str  # relative to the base
    mode: int
    size: int
    mtime_ns: int


def base_for(base: str, parts: Sequence[str], main: str, account: Account | None) -> str:
    """A folder in which the account can use `parts`: `base` itself, or that of a copy.

    Args:
        base: A folder.
        parts: The files and folders in it that are used, relative.
        main: The program among them, relative.
        account: Who uses them; None where that is us.

    Raises:
        StateDenied: There is no place for a copy.
        EngineFailed: They are too large for a copy.
        CannotWrite: The copy cannot be written.
    """
    if account is None or _usable(base, parts, main, account):
        return base
    seen = list(_walk(base, parts))
    size = sum(one.size for one in seen)
    if size > _LARGEST_BYTES:
        raise EngineFailed(
            f"user {account[0]}, which servers run as, cannot reach {base}/{main}",
            cause="a folder above it keeps others out, and what belongs to it is too large for a copy",
            fix=[f"let others enter it: chmod o+x the folders above {base}"],
            subject={"path": f"{base}/{main}"},
        )
    programs = run_root(account, executable=True) / "programs"
    copy = programs / sha256(json.dumps([base, seen]).encode()).hexdigest()[:16]
    if not _is_whole(copy, seen):
        _make(copy, base, seen)
    return str(copy)


def _usable(base: str, parts: Sequence[str], main: str, account: Account) -> bool:
    """Whether the account reaches them all; inside of a folder the others are taken to be like those looked at."""
    if not may_pass(os.path.dirname(f"{base}/{main}"), account) or not may(f"{base}/{main}", account, 5):  # noqa: PTH120 - quicker than pathlib
        return False
    places = [f"{base}/{part}" for part in parts if os.path.isdir(f"{base}/{part}")]  # noqa: PTH112 - quicker than pathlib
    return all(may(place, account, 5) and may_pass(place, account) for place in places)


def _walk(base: str, parts: Sequence[str]) -> Iterator[_Seen]:
    """What is to be copied, in a fixed order. Links are followed: where they lead may be out of reach as well."""
    for part in sorted(parts):
        if os.path.isdir(f"{base}/{part}"):  # noqa: PTH112 - quicker than pathlib
            for folder, folders, names in os.walk(f"{base}/{part}", followlinks=True):
                folders.sort()
                for name in sorted(names):
                    if not name.endswith(".a"):  # for those who link their own programs
                        yield from _look(base, os.path.relpath(f"{folder}/{name}", base))
        else:
            yield from _look(base, part)


def _look(base: str, path: str) -> Iterator[_Seen]:
    try:
        found = os.stat(f"{base}/{path}")  # noqa: PTH116 - quicker than pathlib
    except OSError:
        return
    if stat.S_ISREG(found.st_mode):
        yield _Seen(path, 0o755 if found.st_mode & 0o111 else 0o644, found.st_size, found.st_mtime_ns)


def _is_whole(copy: Path, wanted: Sequence[_Seen]) -> bool:
    """Whether the copy was finished, and each of its files still has its size and time."""
    if not (copy / _COMPLETE).is_file():
        return False
    for one in wanted:
        try:
            found = os.lstat(f"{copy}/{one.path}")
        except OSError:
            return False
        if (found.st_size, found.st_mtime_ns) != (one.size, one.mtime_ns):
            return False
    return True


def _make(copy: Path, base: str, wanted: Sequence[_Seen]) -> None:
    """Make it beside its place and give it its name when it is whole; two processes at once make it twice."""
    try:
        copy.parent.mkdir(mode=0o755, exist_ok=True)
        copy.parent.chmod(0o755)
        with working_folder(copy.parent) as work:
            fresh = work / "new"
            _fill(fresh, base, wanted)
            _put(fresh, copy, wanted, work)
        _tidy(copy)
    except OSError as error:
        raise cannot_write(copy, error, sum(one.size for one in wanted)) from error


def _put(fresh: Path, copy: Path, wanted: Sequence[_Seen], work: Path) -> None:
    for _ in range(2):
        try:
            fresh.rename(copy)
        except OSError:
            if _is_whole(copy, wanted):
                return  # another process was faster
            if copy.exists():
                copy.rename(work / "old")  # a damaged one
                continue
            raise
        return


def _fill(fresh: Path, base: str, wanted: Sequence[_Seen]) -> None:
    import shutil

    made: set[Path] = set()
    for one in wanted:
        target = fresh / one.path
        _folders(target.parent, fresh, made)
        shutil.copyfile(f"{base}/{one.path}", target)
        target.chmod(one.mode)
        os.utime(target, ns=(one.mtime_ns, one.mtime_ns))
    (fresh / _COMPLETE).touch(0o644)


def _folders(folder: Path, top: Path, made: set[Path]) -> None:
    if folder in made:
        return
    if folder != top:
        _folders(folder.parent, top, made)
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    made.add(folder)


def _tidy(newest: Path) -> None:
    """Remove older copies beyond a few that no process runs: a server loads libraries as it needs them."""
    found = [folder for folder in newest.parent.iterdir() if not folder.name.startswith(".") and folder != newest]
    found.sort(key=lambda folder: folder.lstat().st_mtime, reverse=True)
    if old := found[_MOST_COPIES:]:
        running = _running()
        for folder in old:
            if not any(folder in program.parents for program in running):
                files.remove_tree(folder, newest.parent)


def _running() -> set[Path]:
    found = set()
    for process in Path("/proc").glob("[0-9]*/exe"):
        with suppress(OSError):
            found.add(process.readlink())
    return found
