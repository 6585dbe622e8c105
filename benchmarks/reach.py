"""What the families about data do in this process: the interface that fixtures use, on an environment that is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.process import BenchmarkError
from benchmarks.sandbox import Sandbox
from benchmarks.tools import EnvctlProject
from envctl import api, environment, running
from envctl.api import Environment
from envctl.conductor.data import preparing
from envctl.environment import Selection, Wishes
from envctl.host.prepared import Store
from envctl.model import Connection


def selection(project: EnvctlProject) -> Selection:
    """The project's environment, as its commands find it."""
    return Selection(start=project.root, environ=project.environ, engine=project.engine or None)


def connections(project: EnvctlProject) -> Mapping[str, Connection]:
    """How to reach the services of its environment, which is up."""
    report = environment.recorded(selection(project))
    return {name: service.connection for name, service in report.services.items()}


@contextmanager
def servers(
    place: Sandbox, name: str, services: str, files: Mapping[str, str] | None = None
) -> Iterator[tuple[EnvctlProject, Mapping[str, Connection]]]:
    """Servers without containers, for as long as the block lasts.

    Args:
        place: The sandbox.
        name: The project's.
        services: What its envctl.yaml says of them, as YAML in one line.
        files: What else it has: name → content.
    """
    place.prepare_embedded()
    project = place.project(name, engine="embedded")
    for file, text in {**(files or {}), "envctl.yaml": f"services: {services}\n"}.items():
        (project.root / file).write_text(text, encoding="utf-8")
    project.up().checked()
    try:
        yield project, connections(project)
    finally:
        project.down()


def attached(project: EnvctlProject) -> Environment:
    """The environment as a Python program has it, which is up and stays up; to be used with `with`."""
    return api.attach(selection(project), running.new_session("a benchmark"), Wishes())


def forget_prepared(environ: Mapping[str, str], project: str) -> None:
    """Remove a project's prepared data, with its images."""
    for one in Store(environ).all():
        if one.project == project and preparing.remove(environ, one.key) is None:
            raise BenchmarkError(f"prepared data is still in use: {one.key}")


def seconds(act: Callable[[], object], before: Callable[[], object] | None = None) -> Callable[[], float]:
    """How long `act` takes, for `figures.interleave`; what is done `before` is not counted."""

    def once() -> float:
        if before is not None:
            before()
        began_s = time.perf_counter()
        act()
        return time.perf_counter() - began_s

    return once
