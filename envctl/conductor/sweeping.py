"""What nobody uses any more is removed by a process of its own: no command waits for somebody else's garbage."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.host import background, clock, paths

if TYPE_CHECKING:
    from envctl.host.registry import EnvironmentRecord, Registry

_REAPER = "envctl.reaper"
LOCK = "sweep"
"""Name of the lock that a sweep holds; its file is written to each time."""

_PAUSE_S = 5.0  # where it cannot be removed, not every command needs to try


def start_if_due(registry: Registry, state: Path, environ: Mapping[str, str]) -> None:
    """Start a sweep where something is due by what is written down alone: a few queries, no engine, no git."""
    if (
        environ.get(background.MARK)
        or not registry.may_be_due()
        or not any(due(registry, one) for one in registry.all())
    ):
        return
    with suppress(OSError):
        last_s = (paths.locks_dir(state) / f"machine-{LOCK}.lock").stat().st_mtime
        if 0 <= clock.now().timestamp() - last_s < _PAUSE_S:
            return
    with suppress(OSError):  # no processes left: there will be another command
        background.start([*background.python(_REAPER), "sweep", str(state)], environ)


def due(registry: Registry, record: EnvironmentRecord) -> str | None:
    """Why it is to be removed, by what is written down alone; None where it is not, or where it is in use."""
    from envctl.host import lifetime
    from envctl.model import EnvironmentState

    if record.state is EnvironmentState.DOWN or registry.living_sessions(record):
        return None
    if record.ephemeral:
        last = f": {record.sessions[-1]}" if record.sessions else ""
        return f"what used it has ended{last}"
    left_s = lifetime.remaining_s(record.expires_at, record.expires_boot, clock.now())
    return "it has expired" if left_s is not None and left_s <= 0 else None
