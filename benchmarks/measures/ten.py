"""Quick commands on a machine with ten environments."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.crowd import at_once, downs, ups
from benchmarks.cycles import timed
from benchmarks.figures import Budget, Row, interleave
from benchmarks.options import Options
from benchmarks.process import BenchmarkError
from benchmarks.sandbox import Sandbox
from benchmarks.tools import ComposePeer

_FAMILY = "ten"
_OURS = {"ls": ("ls",), "gc --dry-run": ("gc", "--dry-run"), "env": ("env",), "--help": ("--help",)}
_PORT = "docker compose port"
_BUDGET = Budget(absolute=120.0, ratio=1.5)


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Ten on each engine, one engine after the other."""
    place.prepare_embedded()
    peer = place.peer("ten") if place.docker else None
    try:
        if peer:
            peer.up().checked()
        return [row for engine in place.engines for row in _rows(place, engine, peer, options)]
    finally:
        if peer:
            peer.down()


def _rows(place: Sandbox, engine: str, peer: ComposePeer | None, options: Options) -> list[Row]:
    number = options.listed
    projects = [place.project(f"ten-{engine}-{index}", engine=engine) for index in range(number)]
    asked = projects[0]
    try:
        crowd = at_once(ups(projects))
        if crowd.failed:
            raise BenchmarkError(f"{crowd.failed} of {number} did not come up: {crowd.reasons}")
        commands = {name: timed(asked.argv(*args), asked.root, asked.environ) for name, args in _OURS.items()}
        if peer:
            commands[_PORT] = timed(peer.argv("port", "postgres", "5432"), peer.folder, peer.environ)
        found = interleave(options.quick_runs, commands)
    finally:
        at_once(downs(projects))
    what, peer_found = f"{engine}, {number} environments", found.get(_PORT)
    ours = {name: replace(found[name], label=f"envctl {name}") for name in _OURS}
    return [Row(_FAMILY, f"{what}: {name}", "ms", ours[name], peer_found, _BUDGET).in_ms() for name in _OURS]
