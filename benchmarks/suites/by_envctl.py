"""A conftest.py: services by envctl's plugin, one environment for all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from envctl import Connection, Environment


@pytest.fixture(scope="session")
def services(envctl_environment: Environment) -> Environment:
    return envctl_environment


@pytest.fixture(scope="session")
def addresses(worker_postgres: Connection, worker_redis: Connection) -> tuple[str, str]:
    return worker_postgres.url, worker_redis.url
