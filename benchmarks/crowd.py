"""Many commands at the same moment, and how it went for each of them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Finished, run
from benchmarks.tools import EnvctlProject

_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Command:
    """What one member of the crowd runs."""

    argv: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Crowd:
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


def at_once(commands: Sequence[Command]) -> Crowd:
    """Start all of them and wait for the last. Nothing is retried."""
    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as pool:
        done = list(pool.map(lambda command: run(command.argv, command.cwd, command.environ, _LIMIT_S), commands))
    return Crowd(done, time.perf_counter() - began_s)


def ups(projects: Sequence[EnvctlProject]) -> list[Command]:
    """`envctl up` in each of the checkouts."""
    return [Command(project.up_argv, project.root, project.environ) for project in projects]


def downs(projects: Sequence[EnvctlProject]) -> list[Command]:
    """`envctl down` in each of the checkouts."""
    return [Command(project.argv("down"), project.root, project.environ) for project in projects]


def _reason(done: Finished) -> str:
    """The line that says what failed, without what differs from one to the next."""
    lines = [line.text.strip() for line in done.lines if line.text.strip()]
    telling = [
        line for line in lines if re.search(r"error|fail|denied|exhausted|timeout|could not", line, re.IGNORECASE)
    ]
    text = (telling or lines or [f"code {done.code}"])[-1]
    return re.sub(r"[0-9a-f]{8,}|crowd-\d+|\"[^\"]*\"", "…", text)[:160]
