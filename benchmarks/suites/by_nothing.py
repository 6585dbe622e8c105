"""A conftest.py: no services at all."""

import pytest


@pytest.fixture(scope="session")
def services() -> None:
    """What a fixture costs that does nothing."""
