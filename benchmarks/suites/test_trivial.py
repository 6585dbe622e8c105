"""A thousand tests that use nothing."""

import pytest


@pytest.mark.parametrize("number", range(1000))
def test_trivial(number: int) -> None:
    assert number < 1000
