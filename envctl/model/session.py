"""Who uses an environment, and for how long."""

from __future__ import annotations

from typing import NamedTuple

from envctl.model.identity import Owner


class Session(NamedTuple):
    """One process's use of an environment, which is not removed meanwhile.

    Attributes:
        id: Random; of what runs on behalf of another session (a worker of a test run): that one's id, a dot, a name.
        purpose: What for, as people call it: "envctl run", "pytest".
        slot: At least 1 and no other live session's of this environment: names data of its own.
        owner: The process that uses it.
        began_at: Seconds since 1970.
    """

    id: str
    purpose: str
    slot: int
    owner: Owner
    began_at: float

    def __str__(self) -> str:
        """As people name it: "pytest (pid 4121)"."""
        return f"{self.purpose} (pid {self.owner.pid})"


class SessionRequest(NamedTuple):
    """A session that is to begin with an `up`.

    Attributes:
        id: Its id.
        purpose: What for.
        owner: The process it is of.
        keep: Whether an environment that is made for it stays when it ends.
    """

    id: str
    purpose: str
    owner: Owner
    keep: bool = False
