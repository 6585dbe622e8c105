"""The first `up` of the default three services, and `down`, beside Docker Compose."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Budget, Row, interleave, series
from benchmarks.options import Options
from benchmarks.process import Finished
from benchmarks.sandbox import Sandbox

UP, DOWN = "docker compose up -d --wait", "docker compose down -v -t 0"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Up and down again, turn by turn; both are measured in the same cycle."""
    project, peer = place.project("lifecycle"), place.peer("lifecycle")
    downs: dict[str, list[float]] = {UP: [], "envctl up": []}

    def cycle(label: str, up: Callable[[], Finished], down: Callable[[], Finished]) -> Callable[[], float]:
        def once() -> float:
            seconds = up().checked().seconds
            downs[label].append(down().checked().seconds)
            return seconds

        return once

    ups = interleave(
        options.runs,
        {"envctl up": cycle("envctl up", project.up, project.down), UP: cycle(UP, peer.up, peer.down)},
    )
    return [
        Row("lifecycle", "first up, three services", "s", ups["envctl up"], ups[UP], Budget(ratio=1.0)),
        Row(
            "lifecycle",
            "down, three services",
            "s",
            series("envctl down", downs["envctl up"]),
            series(DOWN, downs[UP]),
            Budget(ratio=1.0),
        ),
    ]
