"""A project for each scenario test, and the check that it left nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Project
from whole_engine import EventRecorder, session_folder


@pytest.fixture(scope="session")
def engine_events() -> Iterator[EventRecorder]:
    """Which container mounted which volume, from the first scenario test on."""
    recorder = EventRecorder()
    yield recorder
    recorder.stop()


@pytest.fixture(scope="session")
def projects_folder() -> Path:
    """Where the projects are."""
    folder = session_folder()
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def make_project(projects_folder: Path, engine_events: EventRecorder) -> Iterator[Callable[[], Project]]:
    """Makes projects; each is removed and checked for leaks at the end, whether the test passed or not."""
    made: list[Project] = []

    def make(name: str = "shop") -> Project:
        made.append(Project(projects_folder, events=engine_events, name=name))
        return made[-1]

    yield make
    left = [line for project in made for line in project.close()]
    if left:
        pytest.fail("left behind after the test:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def project(make_project: Callable[[], Project]) -> Project:
    """One project."""
    return make_project()
