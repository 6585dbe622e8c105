"""Postgres and Redis alone, beside Testcontainers-Python."""

from __future__ import annotations

import sys
import time

from benchmarks.figures import Row, interleave, series
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, running
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER, EnvctlProject

_OURS, _PEER = "envctl", "Testcontainers-Python"
_NOTE = "Testcontainers: from process start to both started, then to process end; without Ryuk"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Whole processes: Testcontainers' imports count, as ours do."""
    project = place.project("containers", "postgres-redis.yaml")
    downs: dict[str, list[float]] = {_OURS: [], _PEER: []}
    ups = interleave(
        options.runs,
        {
            _OURS: lambda: _envctl(project, downs[_OURS]),
            _PEER: lambda: _testcontainers(place, downs[_PEER]),
        },
    )
    return [
        Row("testcontainers", "up, Postgres and Redis", "s", ups[_OURS], ups[_PEER], note=_NOTE),
        Row(
            "testcontainers", "down, Postgres and Redis", "s", series(_OURS, downs[_OURS]), series(_PEER, downs[_PEER])
        ),
    ]


def _envctl(project: EnvctlProject, downs: list[float]) -> float:
    seconds = project.up().checked().seconds
    downs.append(project.down().checked().seconds)
    return seconds


def _testcontainers(place: Sandbox, downs: list[float]) -> float:
    settings = {"TESTCONTAINERS_RYUK_DISABLED": "true", "TC_POOLING_INTERVAL": "0.1", "TC_MAX_TRIES": "1200"}
    environ = {**place.environ, **settings, "BENCHMARK_MARK": place.mark}
    argv = [sys.executable, "-W", "ignore", str(PEER / "testcontainers_cycle.py")]
    began_s = time.perf_counter()
    with running(argv, place.folder, environ, talk=True) as child:
        if not child.await_output(120.0):
            child.process.kill()
            raise BenchmarkError(f"Testcontainers did not come up\n{child.finish(10.0).err}")
        up_s = time.perf_counter() - began_s
        asked_s = time.perf_counter()
        assert child.process.stdin
        child.process.stdin.close()
        child.finish(60.0).checked()
        downs.append(time.perf_counter() - asked_s)
    return up_s
