"""A project for each scenario test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Project


@pytest.fixture
def project(make_project: Callable[[], Project]) -> Project:
    """One project."""
    return make_project()
