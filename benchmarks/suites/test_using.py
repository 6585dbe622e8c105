"""A thousand tests that use services, and do nothing with them."""

import pytest


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("number", range(1000))
def test_using(number: int) -> None:
    assert number < 1000
