"""What envctl's plugin costs a run of pytest: one that uses no fixture of ours, and one that does."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.cycles import NO_BUDGET
from benchmarks.figures import Budget, Row, Series, interleave
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox
from benchmarks.suite import Suites

_FAMILY = "plugin"
_WITHOUT, _OURS, _PEER = "pytest -p no:envctl", "pytest with envctl's plugin", "pytest with pytest-docker"
_UNUSED = Budget(absolute=20.0)
_TESTS, _WORKERS = 1000, 4
_UP_BEFORE, _FROM_NOTHING = "ready environment", "from nothing, up and down"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """What it adds is the difference to the run without it in the same round."""
    place.prepare_embedded()
    return [
        *_unused(place, options.fine_runs, 0),
        *_unused(place, options.quick_runs, _WORKERS),
        *_used(place, options),
    ]


def _unused(place: Sandbox, rounds: int, workers: int) -> list[Row]:
    suites = Suites(place, f"plugin-{workers}", "test_trivial.py", _TESTS, workers)
    runs = {_WITHOUT: suites.plain("without"), _OURS: suites.plain("envctl", "envctl")}
    runs[_PEER] = suites.plain("pytest-docker", "docker")
    for suite in runs.values():
        suite.timed()()  # byte code of the tests
    found = interleave(rounds, {label: suite.timed() for label, suite in runs.items()})
    what = "1,000 tests without our fixtures" + (f", {workers} workers" if workers else "")
    return [
        Row(_FAMILY, what, "ms", found[_OURS], found[_WITHOUT]).in_ms(),
        _added(found, _OURS, _PEER, f"{what}: added", _UNUSED),
    ]


def _used(place: Sandbox, options: Options) -> list[Row]:
    suites = Suites(place, "plugin-used", "test_using.py", _TESTS)
    whens = (_UP_BEFORE, _FROM_NOTHING)
    ours = {
        (engine, when): suites.envctl(f"{engine}-{when.split()[0]}", engine)
        for engine in place.engines
        for when in whens
    }
    runs = {_WITHOUT: suites.plain("without", conftest="by_nothing.py"), **{_label(*key): ours[key] for key in ours}}
    peer = place.peer("plugin") if place.docker else None
    if peer:
        runs[_label(_PEER, _UP_BEFORE)] = suites.pytest_docker("pytest-docker-up", peer, stays=True)
        runs[_label(_PEER, _FROM_NOTHING)] = suites.pytest_docker("pytest-docker", place.peer("plugin-from-nothing"))
    ready = [suite.project for (_, when), suite in ours.items() if when == _UP_BEFORE]
    try:
        for project in ready:
            project.up().checked()
        if peer:
            peer.up("postgres", "redis").checked()
        for suite in runs.values():
            suite.timed()()
        found = interleave(options.runs, {label: suite.timed() for label, suite in runs.items()})
    finally:
        for project in ready:
            project.down()
        if peer:
            peer.down()
    return [
        _added(found, _label(engine, when), _label(_PEER, when), f"{engine}: 1,000 tests with services, {when}: added")
        for engine, when in ours
    ]


def _label(who: str, when: str) -> str:
    return f"{who}: {when}"


def _added(found: dict[str, Series], ours: str, peer: str, what: str, budget: Budget = NO_BUDGET) -> Row:
    base = found[_WITHOUT]
    theirs = replace(found[peer], label=_PEER).above(base) if peer in found else None
    return Row(_FAMILY, what, "ms", replace(found[ours], label=_OURS).above(base), theirs, budget).in_ms()
