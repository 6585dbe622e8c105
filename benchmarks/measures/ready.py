"""`up` when everything is up already, beside Compose's no-op."""

from __future__ import annotations

from benchmarks.figures import Budget, Row, interleave
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

_PEER = "docker compose up -d --wait"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Both stand while they are asked in turn."""
    project, peer = place.project("ready"), place.peer("ready")
    try:
        project.up().checked()
        peer.up().checked()
        found = interleave(
            options.runs * 2,
            {"envctl up": lambda: project.up().checked().seconds, _PEER: lambda: peer.up().checked().seconds},
        )
    finally:
        project.down()
        peer.down()
    return [Row("ready", "up when already ready", "ms", found["envctl up"], found[_PEER], Budget(ratio=0.4)).in_ms()]
