"""Projects on the embedded engine, and runs of pytest in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Project
from pytest_runs import MakeTests, PytestProject


@pytest.fixture
def make_tests(make_project: Callable[..., Project]) -> MakeTests:
    """Makes a project with tests: their text, `config` for envctl.yaml and `conftest`."""

    def make(tests: str, *, config: str = "services: {postgres: {}}", conftest: str = "") -> PytestProject:
        return PytestProject(make_project(engine="embedded"), tests, config=config, conftest=conftest)

    return make
