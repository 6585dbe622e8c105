"""The engine's words for the state of a container."""

from __future__ import annotations

from envctl.model import ServiceState

STATES = {
    "created": ServiceState.CREATED,
    "running": ServiceState.RUNNING,
    "restarting": ServiceState.STARTING,
    "paused": ServiceState.PAUSED,
}
"""A container in any other state has ended."""
