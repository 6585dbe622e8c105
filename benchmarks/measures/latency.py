"""From the instant a service is truly ready to `up` knowing it, and to `up` having returned.

No hook in any product: the service itself writes down when it became ready. Postgres does so in its log, which the
engine stamps; `late_server.py` prints the clock the moment it listens. `up` knows when its line about it arrives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Budget, Row, Series, series
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, Finished
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER, ComposePeer, EnvctlProject

_PEER = "docker compose up -d --wait"
_BUDGET = Budget(absolute=30.0)
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d+)Z .*ready to accept connections", re.MULTILINE)
_PRINTED = re.compile(r"listening since (\d+)")

Truth = Callable[[str], int]
Once = Callable[[Mapping[str, str]], tuple[float, float]]


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Postgres as it comes, and a server whose instant of readiness walks over the peers' polling intervals."""
    source = {"LATE_SERVER": Path(PEER / "late_server.py").read_text(encoding="utf-8"), "DELAY_S": "1"}
    postgres = _rows(
        "postgres",
        options.runs,
        _ours(place.project("latency-postgres", "postgres.yaml"), "postgres", _postgres_ready_ns),
        _compose(place.peer("latency-postgres"), "postgres", _postgres_ready_ns),
    )
    late = _rows(
        "an HTTP service",
        options.runs,
        _ours(place.project("latency-late", "late.yaml", source), "late", _printed_ns),
        _compose(place.peer("latency-late", "late.yaml", source), "late", _printed_ns),
    )
    return [*postgres, *late]


def _rows(what: str, runs: int, ours: Once, peer: Once) -> list[Row]:
    figures: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for turn in range(runs):
        delay = {"DELAY_S": f"{1 + turn * 0.137 % 0.5:.3f}"}
        for once, taken in zip((ours, peer), figures, strict=True):
            taken.append(once(delay))
    (ours_knew, ours_ended), (peer_knew, peer_ended) = (zip(*taken, strict=True) for taken in figures)
    return [
        Row(
            "latency",
            f"{what} ready → up knows",
            "ms",
            _named("envctl up", ours_knew),
            _named(_PEER, peer_knew),
            _BUDGET,
        ),
        Row("latency", f"{what} ready → up returned", "ms", _named("envctl up", ours_ended), _named(_PEER, peer_ended)),
    ]


def _ours(project: EnvctlProject, service: str, truth: Truth) -> Once:
    def once(variables: Mapping[str, str]) -> tuple[float, float]:
        try:
            done = project.up(variables).checked()
            return _after(done, truth(project.logs(service)), rf"^{service} +ready ")
        finally:
            project.down()

    return once


def _compose(peer: ComposePeer, service: str, truth: Truth) -> Once:
    def once(variables: Mapping[str, str]) -> tuple[float, float]:
        try:
            done = peer.up(service, variables=variables).checked()
            return _after(done, truth(peer.logs(service)), r"Container .*Healthy")
        finally:
            peer.down()

    return once


def _after(done: Finished, ready_ns: int, knows: str) -> tuple[float, float]:
    """Milliseconds from readiness to the line that says so, and to the end."""
    for line in done.lines:
        if re.search(knows, line.text):
            return (line.at_ns - ready_ns) / 1e6, (done.ended_ns - ready_ns) / 1e6
    raise BenchmarkError(f"no line like {knows} in\n{done.err}")


def _postgres_ready_ns(log: str) -> int:
    """The last such line: the image's temporary first server writes one too."""
    second, fraction = _STAMP.findall(log)[-1]
    return int(datetime.fromisoformat(f"{second}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def _printed_ns(log: str) -> int:
    return int(_PRINTED.findall(log)[-1])


def _named(label: str, values: tuple[float, ...]) -> Series:
    return series(label, values)
