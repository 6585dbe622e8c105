"""What stacks of processes take on this machine's disk: definitions, logs and data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISDIR

from envctl.engines.local import folders
from envctl.host import account, clock


class Weighing:
    """The sizes of all stacks. There is nothing to wait for, so the work is done when the result is wanted.

    Args:
        state: The state directory.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def result(self, deadline_s: float) -> Mapping[str, int | None]:
        """Bytes by stack id; None for a stack whose files were not all counted by then.

        Args:
            deadline_s: Until when to count, on the monotonic clock.
        """
        root = folders.stacks(self._state)
        names = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
        return {name: self._stack(name, deadline_s) for name in names if folders.is_stack(name)}

    def _stack(self, stack_id: str, deadline_s: float) -> int | None:
        places = (folders.stack(self._state, stack_id), *account.data_homes(self._state, stack_id))
        sizes = [_size(place, deadline_s) for place in places]
        return None if None in sizes else sum(size or 0 for size in sizes)


def _size(folder: Path, deadline_s: float) -> int | None:
    """Bytes of the blocks of all files below; what is gone meanwhile or may not be read counts for nothing.

    A file with several names counts once. Blocks that files share (a copy by reflink) count for each.
    """
    total, linked, left = 0, set[tuple[int, int]](), [os.fspath(folder)]
    while left:
        if clock.monotonic_s() > deadline_s:
            return None
        for entry in _entries(left.pop()):
            try:
                known = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if S_ISDIR(known.st_mode):
                left.append(entry.path)
            elif known.st_nlink > 1:
                if (known.st_dev, known.st_ino) in linked:
                    continue
                linked.add((known.st_dev, known.st_ino))
            total += known.st_blocks * 512
    return total


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
