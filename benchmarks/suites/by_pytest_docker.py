"""A conftest.py: services by pytest-docker.

Its fixtures are of each worker's own session: the project is named after the worker's process, and the first worker to
end removes it. So every worker has a stack; that the name is ours, and how `up` and `down` are called, is all that
differs from what it does by default.
"""

import os

import pytest
from pytest_docker.plugin import Services

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return os.environ["PEER_FILE"]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return os.environ["PEER_PROJECT"] + (f"-{WORKER}" if WORKER else "")


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach --wait postgres redis"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return [] if os.environ.get("PEER_STAYS") else ["down --volumes --timeout 0"]


@pytest.fixture(scope="session")
def services(docker_services: Services) -> Services:
    return docker_services


@pytest.fixture(scope="session")
def addresses(docker_services: Services) -> tuple[str, str]:
    postgres, redis = docker_services.port_for("postgres", 5432), docker_services.port_for("redis", 6379)
    passwords = os.environ["POSTGRES_PASSWORD"], os.environ["REDIS_PASSWORD"]
    return f"postgresql://app:{passwords[0]}@127.0.0.1:{postgres}/app", f"redis://:{passwords[1]}@127.0.0.1:{redis}/0"
