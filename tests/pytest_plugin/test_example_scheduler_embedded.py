"""The example with 40 tables where there is no Docker, by its own README."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scheduler_example
from harness import Project


@pytest.mark.timeout(240)
def test_the_readme_session(make_project: Callable[..., Project]) -> None:
    """Its tests pass in random order with four workers, again and again in one environment, and nothing is left."""
    scheduler_example.run_pytest_session(
        scheduler_example.put_into(make_project(engine="embedded")), "embedded", runs=2
    )
