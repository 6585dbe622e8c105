"""A project for each scenario test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_registry import FakeRegistry
from harness import Project


@pytest.fixture
def project(make_project: Callable[[], Project]) -> Project:
    """One project."""
    return make_project()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry on 127.0.0.1."""
    with FakeRegistry() as running:
        yield running
