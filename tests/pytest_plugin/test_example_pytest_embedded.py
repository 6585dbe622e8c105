"""The example for pytest where there is no Docker, by its own README."""

from __future__ import annotations

from collections.abc import Callable

import pytest_example
from harness import Project


def test_the_readme_session(make_project: Callable[..., Project]) -> None:
    """Every command of the README works, the tests pass with four workers, and nothing is left."""
    pytest_example.run_session(pytest_example.put_into(make_project(engine="embedded")), "embedded")
