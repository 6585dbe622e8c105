"""Many different environments brought up at the same moment, as agents in many checkouts do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.crowd import Command, at_once, downs, ups
from benchmarks.figures import Budget, Row, series
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

_PEER = "docker compose up -d --wait"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """One crowd of each size; the figures are its members'. Nothing is retried."""
    return [row for number in options.at_once for row in _rows(place, number)]


def _rows(place: Sandbox, number: int) -> list[Row]:
    projects = [place.project(f"crowd-{index}") for index in range(number)]
    peers = [place.peer(f"crowd-{index}") for index in range(number)]
    try:
        ours = at_once(ups(projects))
    finally:
        gone = at_once(downs(projects))
    try:
        theirs = at_once([Command(peer.up_argv(), peer.folder, peer.environ) for peer in peers])
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
