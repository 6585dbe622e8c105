"""Files that a command writes into a repository: readable by all, and never over somebody's work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from envctl.errors import WouldOverwrite
from envctl.host.files import cannot_write, write_atomic

_READABLE = 0o644


def refuse_overwriting(root: Path, names: Sequence[str], fix: Sequence[str]) -> None:
    """Raises WouldOverwrite, with the ways out, where one of the files in `root` exists."""
    in_the_way = [name for name in names if os.path.lexists(root / name)]
    if in_the_way:
        exist = "exists" if len(in_the_way) == 1 else "exist"
        raise WouldOverwrite(
            f"{' and '.join(in_the_way)} {exist} already in {root}",
            fix=fix,
            subject={"path": str(root / in_the_way[0])},
            state="nothing was written",
        )


def write(path: Path, text: str) -> None:
    """Writes the file, and the folders above it. Raises CannotWrite."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_atomic(path, text, _READABLE)
