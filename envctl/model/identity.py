"""Whose an environment is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BranchSource(StrEnum):
    """Where the branch's name was found."""

    OPTION = "option"
    CI = "ci"
    GIT = "git"
    DETACHED = "detached"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where we stand: facts about the repository, as found on this machine.

    Attributes:
        root: Absolute, resolved path of the work tree (or of the folder, without git).
        folder: Its last component, the project's default name. For a linked worktree: the main work tree's.
        branch: Branch name exactly as git or CI gives it; a detached head's short commit; "" where there is none.
        source: Where `branch` was found.
        ci: Name of the CI system ("github", "gitlab", …) or None.
    """

    root: str
    folder: str
    branch: str
    source: BranchSource
    ci: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose environment it is: project, branch, checkout and an optional second name beside the branch's.

    Attributes:
        project: The project's name as people write it.
        branch: The raw branch name; may hold any character git accepts, so never put it in a path, shell or template.
        checkout: Absolute path of the checkout.
        label: The `--name` option: a second environment beside the branch's, or "".
        key: SHA-256 (hex) over checkout, branch and label: the same three always give the same environment.
        name: Readable, unique, safe: `[a-z0-9-]+` ending in 8 hex digits of `key`. At most 48 characters.
    """

    project: str
    branch: str
    checkout: str
    label: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a lease. A process id alone proves nothing: ids are used again.

    Attributes:
        boot_id: The kernel's boot id, "" where unknown.
        pid: Process id.
        start_ticks: Start time of the process since boot, in clock ticks, 0 where unknown.
    """

    boot_id: str
    pid: int
    start_ticks: int
