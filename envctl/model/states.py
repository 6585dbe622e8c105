"""What is true, or recorded, of a service and of an environment."""

from __future__ import annotations

from enum import StrEnum


class ServiceState(StrEnum):
    """What is true of one service now."""

    ABSENT = "absent"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    EXITED = "exited"


class EnvironmentState(StrEnum):
    """What is recorded or observed of a whole environment."""

    CREATING = "creating"
    READY = "ready"
    DIRTY = "dirty"  # something that changes its data was begun and not ended
    DEGRADED = "degraded"
    STOPPED = "stopped"
    REMOVING = "removing"
    DOWN = "down"
