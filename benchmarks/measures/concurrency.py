"""Many different environments brought up at the same moment, as agents in many checkouts do."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Budget, Row, series
from benchmarks.options import Options
from benchmarks.process import Finished, run
from benchmarks.sandbox import Sandbox

_PEER = "docker compose up -d --wait"
_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class _Command:
    argv: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Crowd:
    """How it went for all: `wall_s` from the first start to the last end."""

    done: list[Finished]
    wall_s: float

    @property
    def seconds(self) -> list[float]:
        """Of those that succeeded."""
        return [one.seconds for one in self.done if one.code == 0]

    @property
    def failed(self) -> int:
        """How many did not."""
        return sum(one.code != 0 for one in self.done)

    @property
    def reasons(self) -> str:
        """Why, each with how often."""
        counted = Counter(_reason(one) for one in self.done if one.code != 0)
        return "; ".join(f"{number} x {reason}" for reason, number in counted.most_common(3))


def measure(place: Sandbox, options: Options) -> list[Row]:
    """One crowd of each size; the figures are its members'. Nothing is retried."""
    return [row for number in options.at_once for row in _rows(place, number)]


def _rows(place: Sandbox, number: int) -> list[Row]:
    projects = [place.project(f"crowd-{index}") for index in range(number)]
    peers = [place.peer(f"crowd-{index}") for index in range(number)]
    try:
        ours = _all([_Command(project.up_argv, project.root, project.environ) for project in projects])
    finally:
        gone = _all([_Command(project.argv("down"), project.root, project.environ) for project in projects])
    try:
        theirs = _all([_Command(peer.up_argv(), peer.folder, peer.environ) for peer in peers])
    finally:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda peer: peer.down(), peers))
    peer_failed = f"peer: {theirs.failed} of {number} failed ({theirs.reasons})" if theirs.failed else ""
    note = "; ".join(part for part in (f"ours: {ours.reasons}" if ours.failed else "", peer_failed) if part)
    every = series(_PEER, theirs.seconds) if theirs.seconds else None
    comparable = None if theirs.failed else series(_PEER, [theirs.wall_s])
    rows = [
        Row(
            "concurrency", f"{number} up at once: wall", "s", series("envctl up", [ours.wall_s]), comparable,
            Budget(all_succeed=True), ours.failed, note,
        ),
        Row(
            "concurrency", f"{number} down at once: wall", "s", series("envctl down", [gone.wall_s]), None,
            Budget(all_succeed=True), gone.failed, gone.reasons,
        ),
    ]  # fmt: skip
    if ours.seconds:
        each = Row("concurrency", f"{number} up at once: each", "s", series("envctl up", ours.seconds), every)
        rows.insert(1, each)
    return rows


def _all(commands: Sequence[_Command]) -> _Crowd:
    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as pool:
        done = list(pool.map(lambda command: run(command.argv, command.cwd, command.environ, _LIMIT_S), commands))
    return _Crowd(done, time.perf_counter() - began_s)


def _reason(done: Finished) -> str:
    """The line that says what failed, without what differs from one to the next."""
    lines = [line.text.strip() for line in done.lines if line.text.strip()]
    telling = [
        line for line in lines if re.search(r"error|fail|denied|exhausted|timeout|could not", line, re.IGNORECASE)
    ]
    text = (telling or lines or [f"code {done.code}"])[-1]
    return re.sub(r"[0-9a-f]{8,}|crowd-\d+|\"[^\"]*\"", "…", text)[:160]
