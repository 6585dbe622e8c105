"""How long anything is left after `kill -9` of `envctl run`."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import footprint
from benchmarks.figures import Row, interleave
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, running
from benchmarks.sandbox import Sandbox
from benchmarks.tools import EnvctlProject, docker

_FAMILY, _LABEL = "reclaim", "envctl run, killed"
_COMMAND = ("sh", "-c", "echo up; exec sleep 600")
_EVERY_S, _LIMIT_S = 0.005, 60.0
_ROWS = "SELECT count(*) FROM environments WHERE checkout = ?"
_NOTE = (
    "until its containers, network, volumes, processes, files and row are gone; no peer: Testcontainers has Ryuk for "
    "this, whose image only a registry gives, and which by default waits 10 s before it begins"
)


def measure(place: Sandbox, options: Options) -> list[Row]:
    """The default three services, made by `run` and up; envctl alone is killed, not the command it runs."""
    place.prepare_embedded()
    projects = {engine: place.project(f"reclaim-{engine}", engine=engine) for engine in place.engines}
    found = interleave(options.runs, {engine: partial(_killed, place, project) for engine, project in projects.items()})
    what = "nothing left after kill -9"
    rows = [
        Row(_FAMILY, f"{engine}: {what}", "ms", replace(found[engine], label=_LABEL)).in_ms() for engine in projects
    ]
    return [replace(rows[0], note=_NOTE), *rows[1:]]


def _killed(place: Sandbox, project: EnvctlProject) -> float:
    before = _files(place)
    try:
        with running(project.run_argv(*_COMMAND), project.root, project.environ) as child:
            if not child.await_output(_LIMIT_S * 2):
                raise BenchmarkError(f"envctl run did not come up\n{child.finish(10.0).err}")
            signs = _signs(place, project, before)
            if not all(sign() for sign in signs):
                raise BenchmarkError("an environment that is up was not seen, so its end would not be either")
            began_s = time.perf_counter()
            os.kill(child.process.pid, signal.SIGKILL)
            child.process.wait()
            return _gone_s(signs) - began_s
    finally:
        project.down()


def _signs(place: Sandbox, project: EnvctlProject, before: set[Path]) -> list[Callable[[], bool]]:
    """What tells that something is left, the cheap ones first: they are looked at all the time."""
    # Servers may change what their command line says, so it is their starters that are found by it.
    known = {pid for found in footprint.mentioning(str(place.folder)) for pid in footprint.tree(found)}
    signs: list[Callable[[], bool]] = [
        lambda: bool(_files(place) - before),
        lambda: _has_row(place.state, project),
        lambda: any(map(footprint.lives, known)),
        lambda: any(footprint.mentioning(str(place.folder))),
    ]
    return [*signs, lambda: any(_objects(project))] if project.engine == "compose" else signs


def _gone_s(signs: list[Callable[[], bool]]) -> float:
    """When the last of them went. A look at the engine costs more than the pause between two, so it comes last."""
    until_s = time.perf_counter() + _LIMIT_S
    while (at_s := time.perf_counter()) < until_s:
        if not any(sign() for sign in signs):
            return at_s
        time.sleep(_EVERY_S)
    raise BenchmarkError(f"after {_LIMIT_S:.0f} s something was left of a killed run")


def _files(place: Sandbox) -> set[Path]:
    folders = [place.state / name for name in ("stacks", "environments", "sessions")]
    return {file for folder in folders for file in folder.glob("*")} | set((place.folder / "run").glob("*/*"))


def _has_row(state: Path, project: EnvctlProject) -> bool:
    with closing(sqlite3.connect(f"file:{state}/registry.db?mode=ro", uri=True, timeout=10.0)) as registry:
        return bool(registry.execute(_ROWS, (str(project.root),)).fetchone()[0])


def _objects(project: EnvctlProject) -> Iterator[str]:
    label = ("--filter", f"label=dev.envctl.checkout={project.root}")
    for command in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
        yield from docker(project.environ, *command, "--quiet", *label).split()
