"""The same tests for each engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Project

ENGINES = [pytest.param("compose", marks=pytest.mark.engine), "embedded"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name of the engine."""
    return str(request.param)


@pytest.fixture
def project(make_project: Callable[..., Project], engine: str) -> Project:
    """A project whose environments run on the engine; where that is the embedded one, no Docker can be found."""
    return make_project(engine=engine)
