"""Where the files of a stack's processes are.

STATE/stacks/STACK/stack.json              whose it is, so that a lost registry can be rebuilt
STATE/stacks/STACK/SERVICE/definition.json what was asked for, without secrets
process.json    the running process and its keeper (written by the keeper)
exit.json       how it ended (written by the keeper)
log, log.1      what it said, at most 10 MB each
STATE/stacks/STACK/SERVICE/data/           its data; for a service that may not be root, see `account.data_home`
"""

from __future__ import annotations

import re
from pathlib import Path

_STACK_ID = re.compile(r"[0-9a-f]{12}")

LOG_LIMIT_BYTES = 10 * 1024**2


def stacks(state: Path) -> Path:
    """The folder of all stacks that have processes."""
    return state / "stacks"


def stack(state: Path, stack_id: str) -> Path:
    """The folder of one stack. Raises ValueError for what is no stack's id."""
    if not _STACK_ID.fullmatch(stack_id):
        raise ValueError(f"not a stack's id: {stack_id!r}")
    return stacks(state) / stack_id


def state_of(stack_folder: Path) -> Path:
    """The state directory a stack's folder is in."""
    return stack_folder.parent.parent


def is_stack(name: str) -> bool:
    """Whether it is the name of a stack's folder."""
    return bool(_STACK_ID.fullmatch(name))


def exists(state: Path, stack_id: str) -> bool:
    """Whether the stack has, or had, processes."""
    return bool(_STACK_ID.fullmatch(stack_id)) and stack(state, stack_id).is_dir()


def data(service_folder: Path) -> list[Path]:
    """Where a service has data, by what is there: what its definition says may be damaged."""
    from envctl.host import account

    root = service_folder.parent
    homes = account.data_homes(state_of(root), root.name)
    places = [service_folder / "data", *(home / service_folder.name for home in homes)]
    return [place for place in places if place.is_dir()]
