"""What `envctl run -- true` adds to `true`: on an environment that is up, and with one made and removed around it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.cycles import NO_BUDGET, timed
from benchmarks.figures import Budget, Row, Series, interleave
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox
from benchmarks.tools import ComposePeer, EnvctlProject

_FAMILY = "run"
_TRUE, _OURS = "true", "envctl run -- true"
_PEER_READY = "docker compose up -d --wait && true"
_PEER = f"{_PEER_READY} && docker compose down -v -t 0"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """On each engine; what `true` alone takes is taken off, also from the peer's figures."""
    place.prepare_embedded()
    projects = {engine: place.project(f"run-{engine}", engine=engine) for engine in place.engines}
    peer = place.peer("run") if place.docker else None
    return [*_ready(place, projects, peer, options), *_from_nothing(place, projects, peer, options)]


def _ready(place: Sandbox, projects: dict[str, EnvctlProject], peer: ComposePeer | None, options: Options) -> list[Row]:
    commands = _commands(place, projects)
    try:
        for project in projects.values():
            project.up().checked()
        if peer:
            peer.up().checked()
            commands[_PEER_READY] = _shell(peer, peer.up_argv(), [_TRUE])
        found = interleave(options.runs * 2, commands)
    finally:
        for project in projects.values():
            project.down()
        if peer:
            peer.down()
    return [_row(found, engine, "on a ready environment", "ms", _PEER_READY).in_ms() for engine in projects]


def _from_nothing(
    place: Sandbox, projects: dict[str, EnvctlProject], peer: ComposePeer | None, options: Options
) -> list[Row]:
    commands = _commands(place, projects)
    if peer:
        commands[_PEER] = _shell(peer, peer.up_argv(), [_TRUE], peer.down_argv())
    found = interleave(options.runs, commands)
    budgets = {"compose": Budget(ratio=1.0)}
    return [
        replace(_row(found, engine, "from nothing, up and down", "s", _PEER), budget=budgets.get(engine, NO_BUDGET))
        for engine in projects
    ]


def _commands(place: Sandbox, projects: dict[str, EnvctlProject]) -> dict[str, Callable[[], float]]:
    ours = {name: timed(one.run_argv(_TRUE), one.root, one.environ) for name, one in projects.items()}
    return {_TRUE: timed([_TRUE], place.folder, place.environ), **ours}


def _shell(peer: ComposePeer, *commands: Sequence[str]) -> Callable[[], float]:
    text = " && ".join(shlex.join(command) for command in commands)
    return timed(["sh", "-c", text], peer.folder, peer.environ)


def _row(found: dict[str, Series], engine: str, what: str, unit: str, peer: str) -> Row:
    alone = found[_TRUE]
    ours = replace(found[engine], label=_OURS).above(alone)
    theirs = found[peer].above(alone) if peer in found else None
    return Row(_FAMILY, f"{engine}: run adds, {what}", unit, ours, theirs)
