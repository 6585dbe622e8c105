"""Postgres and Redis alone, beside Testcontainers-Python."""

from __future__ import annotations

from benchmarks.cycles import beside, envctl, row, testcontainers
from benchmarks.figures import Row, contest
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

PEER = "Testcontainers-Python"
NOTE = "Testcontainers: from process start to both started, then to process end; without Ryuk"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Whole processes: Testcontainers' imports count, as ours do."""
    project = place.project("containers", "postgres-redis.yaml")
    found = contest(options.runs, {"envctl": envctl(project), PEER: testcontainers(place)})
    rows = {
        "up": row("testcontainers", "up, Postgres and Redis", "s", note=NOTE),
        "down": row("testcontainers", "down, Postgres and Redis", "s"),
    }
    return [beside(found, phase, "envctl", PEER, bare) for phase, bare in rows.items()]
