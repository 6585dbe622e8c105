"""What a server that was killed leaves behind: its lock file, and a little shared memory of System V.

PostgreSQL takes a lock file for valid if any process of its user has the number in it, and numbers are used again. The
memory (56 bytes that show whether a server still runs) would stay until the machine is started again; a server that
starts on the same folder takes it over, but one that is removed does not.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from envctl.errors import Busy

_PID_FILE = "postmaster.pid"
_LONGEST = 4096
_IPC_RMID = 0


class LockFile(NamedTuple):
    """What stands in postmaster.pid (src/include/utils/pidfile.h).

    Attributes:
        pid: Of the server that wrote it; 0 where there is none.
        memory_id: Of its shared memory, or None.
    """

    pid: int
    memory_id: int | None


def read(data: Path) -> LockFile | None:
    """The folder's lock file, or None where there is none. Nothing in it is believed."""
    try:
        fd = os.open(data / _PID_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        lines = file.read(_LONGEST).decode(errors="replace").split("\n")
    pid = lines[0].strip().lstrip("-")
    memory = lines[6].split() if len(lines) > 6 else []
    return LockFile(
        int(pid) if pid.isdigit() else 0, int(memory[1]) if len(memory) == 2 and memory[1].isdigit() else None
    )


def remove_lock(data: Path) -> None:
    """Remove a lock file whose server is gone, also where another program has its number now.

    Raises:
        Busy: A server of this very folder runs.
    """
    lock = read(data)
    if lock is None:
        return
    if lock.pid and _serves(lock.pid, data):
        raise Busy(
            f"a PostgreSQL server already runs on {data}",
            cause=f"it is process {lock.pid}, which this environment did not start, or lost sight of",
            fix=[f"end it: kill -INT {lock.pid}", "then try again"],
            subject={"pid": lock.pid, "path": str(data)},
        )
    clear(data)  # only this file tells which memory it was: were the next start to fail too, nobody would know
    with suppress(OSError):
        (data / _PID_FILE).unlink()


def clear(data: Path) -> None:
    """Remove shared memory of a server that is gone, before its folder is removed. Never raises."""
    lock = read(data)
    if lock is None or lock.memory_id is None or (lock.pid and _serves(lock.pid, data)):
        return
    if _is_abandoned(lock.memory_id, lock.pid):
        import ctypes

        ctypes.CDLL(None).shmctl(lock.memory_id, _IPC_RMID, None)


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server of this folder: it works in it, and its program is `postgres`.

    A process that cannot be looked at belongs to another user; PostgreSQL does not mind those.
    """
    try:
        folder, program = os.stat(f"/proc/{pid}/cwd"), os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115, PTH116 - quicker than pathlib
        ours = data.stat()
    except OSError:
        return False
    same = (folder.st_dev, folder.st_ino) == (ours.st_dev, ours.st_ino)
    return same and Path(program.removesuffix(" (deleted)")).name in {"postgres", "postmaster"}


def _is_abandoned(memory_id: int, creator: int) -> bool:
    """Whether the memory has the size and maker of that server's, and nobody uses it (proc(5), sysvipc/shm)."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/sysvipc/shm").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if int(fields[1]) == memory_id:
                size, maker, users = int(fields[3]), int(fields[4]), int(fields[6])
                return size < _LONGEST and maker == creator and users == 0
    return False
