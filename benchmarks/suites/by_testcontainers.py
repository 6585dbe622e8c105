"""A conftest.py: services by Testcontainers, containers of its own for each worker."""

from collections.abc import Iterator

import pytest
from testcontainers_pair import Pair


@pytest.fixture(scope="session")
def addresses() -> Iterator[tuple[str, str]]:
    with Pair() as pair:
        host, port = pair.redis.get_container_host_ip(), pair.redis.get_exposed_port(6379)
        yield pair.postgres.get_connection_url(), f"redis://:{pair.redis.password}@{host}:{port}/0"
