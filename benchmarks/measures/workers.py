"""200 tests with real statements on four workers of pytest-xdist, each worker with data of its own."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.figures import Row, Series, interleave
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox
from benchmarks.suite import Suite, Suites

_FAMILY = "workers"
_OURS, _PYTEST_DOCKER, _TESTCONTAINERS = "pytest with envctl's plugin", "pytest-docker", "Testcontainers-Python"
_TESTS, _WORKERS = 200, 4
_NOTES = {
    _PYTEST_DOCKER: "pytest-docker: a stack for each worker; it can share none, since the first to end would remove it",
    _TESTCONTAINERS: "Testcontainers: containers for each worker, made by a session's fixture; without Ryuk",
}


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Whole runs from nothing to nothing, and ours on an environment that is up before and after."""
    place.prepare_embedded()
    suites = Suites(place, "workers", "test_statements.py", _TESTS, _WORKERS)
    runs = {engine: suites.envctl(engine, engine) for engine in place.engines}
    ready = {engine: suites.envctl(f"{engine}-ready", engine) for engine in place.engines}
    if place.docker:
        runs |= _peers(place, suites)
    runs |= {_ready(engine): suite for engine, suite in ready.items()}
    try:
        for suite in ready.values():
            suite.project.up().checked()
        for suite in runs.values():
            suite.timed()()
        found = interleave(options.runs, {label: suite.timed() for label, suite in runs.items()})
    finally:
        for suite in ready.values():
            suite.project.down()
    return _rows(place, found)


def _peers(place: Sandbox, suites: Suites) -> dict[str, Suite]:
    stacks = [place.peer(f"workers-gw{number}") for number in range(_WORKERS)]  # each is removed when all is
    shared = replace(stacks[0], name=stacks[0].name.removesuffix("-gw0"))  # each worker adds its own name
    return {
        _PYTEST_DOCKER: suites.pytest_docker("pytest-docker", shared),
        _TESTCONTAINERS: suites.testcontainers("testcontainers"),
    }


def _rows(place: Sandbox, found: dict[str, Series]) -> list[Row]:
    rows = []
    for engine in place.engines:
        what, ours = f"{engine}: 200 tests, 4 workers", replace(found[engine], label=_OURS)
        for peer in (_PYTEST_DOCKER, _TESTCONTAINERS) if place.docker else ("",):
            note = _NOTES.get(peer, "") if engine == place.engines[0] else ""
            rows.append(Row(_FAMILY, f"{what}, from nothing", "s", ours, found.get(peer), note=note))
        rows.append(Row(_FAMILY, f"{what}, ready environment", "s", replace(found[_ready(engine)], label=_OURS)))
    return rows


def _ready(engine: str) -> str:
    return f"{engine}, ready"
