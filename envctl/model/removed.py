"""What an engine reports of whole stacks: what it removed, and what it found by labels alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envctl.model.identity import Identity
from envctl.model.stack import Stack


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` did.

    Attributes:
        counts: By noun: {"container": 3, "network": 1}.
        kept: Volumes kept on purpose.
        left: What could not be removed, with the reason.
    """

    counts: Mapping[str, int]
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A stack found by its labels alone, for a registry that was lost.

    Attributes:
        identity: Whose environment it is.
        stack: With the ports, subnet and credentials that are in use.
        config_file: The configuration it was made from, or None.
        created_at: ISO 8601, UTC.
        expires_at: ISO 8601, UTC, or None.
        only_data: Whether all that is left of it is data that is to survive `down`.
    """

    identity: Identity
    stack: Stack
    config_file: str | None
    created_at: str
    expires_at: str | None
    only_data: bool
