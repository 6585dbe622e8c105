"""Whether an environment has lost what it was for: its checkout, its branch, or the command that was making it."""

from __future__ import annotations

from envctl.host import branches, owner
from envctl.host.registry import EnvironmentRecord
from envctl.model import BranchSource, EnvironmentState

_AT_WORK = (EnvironmentState.CREATING, EnvironmentState.REMOVING)


def cause(record: EnvironmentRecord) -> str | None:
    """Why it is to be removed, or None where it is not, or where nothing is certain."""
    if record.state is EnvironmentState.DOWN:
        return None
    if record.state in _AT_WORK and not owner.is_alive(record.owner):
        return f"the envctl that was at work on it (pid {record.owner.pid}) was killed"
    identity = record.identity
    if branches.checkout_state(identity.checkout, record.checkout_mark) == "gone":
        return f"its checkout is gone: {identity.checkout}"
    from_git = record.branch_source == BranchSource.GIT
    if from_git and branches.branch_state(identity.checkout, identity.branch, record.checkout_mark) == "gone":
        return f"its branch is gone: {identity.branch}"
    return None
