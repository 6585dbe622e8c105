"""The way of one environment: up, up again, changed, down."""

from __future__ import annotations

from harness import Project

REDIS = "services:\n  redis: {}\n"


def test_second_up_restarts_nothing(project: Project) -> None:
    """An `up` of what runs as defined leaves every container as it is and reports no change."""
    project.config(REDIS)
    first = project.up()
    before = project.containers()
    second = project.up()
    assert project.containers() == before
    assert second["services"] == {
        "redis": {**first["services"]["redis"], "ready_ms": second["services"]["redis"]["ready_ms"]}
    }
