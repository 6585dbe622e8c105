"""What a test run or a prompt asks many times a day: `env`, `url`, `ls`, `--help`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.figures import Budget, Row, interleave
from benchmarks.options import Options
from benchmarks.process import Finished
from benchmarks.sandbox import Sandbox

_OURS = {"env": ("env",), "url": ("url", "postgres"), "ls": ("ls",), "--help": ("--help",)}
_PORT, _PS = "docker compose port", "docker compose ps"
_BUDGET = Budget(absolute=120.0, ratio=1.5)


def measure(place: Sandbox, options: Options) -> list[Row]:
    """All of them in one round, so that each ratio is of the same minutes. The budget's peer is `port`."""
    project, peer = place.project("queries"), place.peer("queries")
    try:
        project.up().checked()
        peer.up().checked()
        commands = {f"envctl {name}": partial(_seconds, project.run, *args) for name, args in _OURS.items()}
        commands[_PORT] = partial(_seconds, peer.run, "port", "postgres", "5432")
        commands[_PS] = partial(_seconds, peer.run, "ps")
        found = interleave(options.quick_runs, commands)
    finally:
        project.down()
        peer.down()
    rows = [Row("queries", name, "ms", found[f"envctl {name}"], found[_PORT], _BUDGET).in_ms() for name in _OURS]
    beside = Row("queries", "ls, beside the peer's list", "ms", found["envctl ls"], found[_PS])
    return [*rows, beside.in_ms()]


def _seconds(command: Callable[..., Finished], *args: str) -> float:
    return command(*args).checked().seconds
