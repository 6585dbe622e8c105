"""The two errors of an engine that cannot be reached: made from Docker's words, and from the system's own."""

from __future__ import annotations

from collections.abc import Sequence

from envctl.errors import EngineDenied, EngineUnreachable


def unreachable(cause: str, evidence: Sequence[str] = ()) -> EngineUnreachable:
    """Nobody answers there."""
    return EngineUnreachable(
        "the Docker engine does not answer",
        cause=cause,
        evidence=evidence,
        fix=[
            "start it: sudo systemctl start docker (or Docker Desktop)",
            "check DOCKER_HOST and `docker context ls`; `envctl doctor` shows what was chosen",
        ],
    )


def denied(cause: str, evidence: Sequence[str] = ()) -> EngineDenied:
    """Somebody does, but not to this user."""
    return EngineDenied(
        "this user may not use the Docker engine's socket",
        cause=cause,
        evidence=evidence,
        fix=[
            "add the user to the group that owns the socket: sudo usermod -aG docker $USER, then log in again",
            "or use rootless Docker",
        ],
    )
