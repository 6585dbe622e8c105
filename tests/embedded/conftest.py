"""A project for each test of the embedded engine: no Docker can be found in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Project


@pytest.fixture
def make_embedded(make_project: Callable[..., Project]) -> Callable[..., Project]:
    """Makes such projects."""
    return lambda name="shop": make_project(name, engine="embedded")


@pytest.fixture
def project(make_embedded: Callable[..., Project]) -> Project:
    """One project."""
    return make_embedded()
