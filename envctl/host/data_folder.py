"""The data folder of a process: packed into a file, made from one, and known to be whole by a mark that is set last."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from envctl.errors import DataFailed, Leftovers
from envctl.host import files, owner, paths
from envctl.host.copy import Damaged, Packed, open_packed, spread, unpack
from envctl.host.files import cannot_write
from envctl.host.packing import pack

MARK = "envctl.json"
"""The file that says that the folder is whole."""

_LONGEST = 4096


# -- prepared data -----------------------------------------------------------------------------------------------------


def save(data: Path, target: Path, meta: dict[str, Any], leave_out: Callable[[str], bool]) -> int:
    """Pack a folder into a private file, which has its name only once it is whole.

    Args:
        data: The folder; its server has ended.
        target: The file; what has its name is replaced.
        meta: Anything JSON takes; whoever opens the file gets it back.
        leave_out: Says of a file's relative path whether it is not wanted. Our mark never is.

    Returns:
        What the file takes on disk, bytes.

    Raises:
        CannotWrite: There is no room.
        DataFailed: The folder holds what cannot be packed.
    """
    me = owner.current()
    temporary = target.with_name(f".{target.name}.{me.pid}-{me.start_ticks}-{os.urandom(4).hex()}.tmp")
    try:
        paths.make_private(target.parent)
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w+b") as file:
            files.owner_only(fd)
            pack(str(data), file, meta, lambda name: name == MARK or leave_out(name))
            size = os.fstat(fd).st_blocks * 512
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error, variable="ENVCTL_CACHE_DIR") from error
    except ValueError as error:
        fix = ["do without prepared data: `snapshots: false` in envctl.yaml"]
        raise DataFailed(f"cannot keep the data in {data}", cause=str(error), fix=fix) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return size


@contextmanager
def opened(prepared: Mapping[str, str]) -> Iterator[Packed]:
    """The prepared data that a service starts from; to be used with `with`.

    Args:
        prepared: As in a process's definition: `key` and `source`.

    Raises:
        DataFailed: It is not there, or damaged.
    """
    path = Path(prepared["source"])
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise unusable(prepared, (error.strerror or str(error)).lower()) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise unusable(prepared, "it is no file")
        try:
            packed = open_packed(fd)
        except (Damaged, ValueError, KeyError, TypeError) as error:
            raise unusable(prepared, str(error)) from None
        yield packed
    finally:
        os.close(fd)


def unusable(prepared: Mapping[str, str], cause: str) -> DataFailed:
    """The error to raise where prepared data is not what it should be."""
    return DataFailed(
        "the prepared data that this environment starts from cannot be used",
        cause=f"{prepared['source']}: {cause}",
        fix=[f"envctl snapshot rm {prepared['key']}, then try again: it is made anew"],
        subject={"key": prepared["key"], "path": prepared["source"]},
    )


# -- making ------------------------------------------------------------------------------------------------------------


def fill(packed: Packed, data: Path, account: tuple[int, int] | None) -> None:
    """Make the folder, with all that was packed. What is made is not marked yet, nor is the folder given away.

    Args:
        packed: What.
        data: The folder, which does not exist; its parent does.
        account: Whose the content is to be, where not ours.

    Raises:
        OSError: It cannot be written; what was made so far is left.
    """
    # The random name makes ext4 place it where nothing was removed lately: see `spread`.
    spread(str(data.parent))
    fresh = data.with_name(f".{data.name}.{os.urandom(4).hex()}")
    fresh.mkdir(mode=0o700)
    fresh.rename(data)
    data.chmod(0o700)
    unpack(packed, str(data), account)


def remove(data: Path) -> None:
    """Remove a folder that is not whole, with what killed preparations left.

    Raises:
        Leftovers: Something cannot be removed.
    """
    for empty in data.parent.glob(f".{data.name}.*"):  # of a preparation that was killed
        with suppress(OSError):
            empty.rmdir()
    if left := files.remove_tree(data, data.parent):
        raise Leftovers(f"cannot remove the half-made {data}", evidence=left, fix=[f"rm -rf {data}"], leftovers=left)


# -- the mark ----------------------------------------------------------------------------------------------------------


def mark(data: Path, known: Mapping[str, str], account: tuple[int, int] | None, *, durable: bool) -> None:
    """Say that the folder is whole.

    Args:
        data: The folder.
        known: What is to be known of it.
        account: Whose it is, where not ours.
        durable: Whether it must survive a power failure.

    Raises:
        OSError: It cannot be written.
    """
    new = data / f".{MARK}"
    with suppress(FileNotFoundError):
        new.unlink()
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(json.dumps(known))
        if account is not None:
            os.fchown(fd, *account)
        if durable:
            file.flush()
            os.fsync(fd)
    new.rename(data / MARK)
    if durable:
        files.sync_directory(data)


def marked(data: Path) -> dict[str, Any] | None:
    """What is known of a folder that is whole: empty where the mark is damaged, None where there is none."""
    text = read(data / MARK)
    if text is None:
        return None
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def read(path: Path) -> bytes | None:
    """A short file of the data's owner, whom we do not trust: no link is followed, and nothing waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(_LONGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
