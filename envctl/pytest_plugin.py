"""Fixtures for pytest: the services of the environment, and data of its own for each worker and each test.

Everything that is decided is a fixture that a conftest.py can override. What does the work stands in `envctl.fixtures`
and is imported when a fixture is first used: a run that uses none pays for this file alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from envctl.fixtures.hooks import (  # noqa: F401 - pytest looks for them here
    CLOSING,
    FAILED,
    FRESH,
    LOGS,
    note_resets,
    pytest_addoption,
    pytest_configure_node,
    pytest_report_header,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    run_of,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from envctl.api import Environment
    from envctl.fixtures.databases import WorkerDatabases
    from envctl.fixtures.redis import WorkerRedis
    from envctl.fixtures.session import Using
    from envctl.kinds.websocket.data import Channels
    from envctl.model import Connection, ResetStrategy


# -- what a conftest.py may decide -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def envctl_spec() -> Mapping[str, Any] | None:
    """What envctl.yaml would say, instead of a file: {"services": {"postgres": {}}}."""
    return None


@pytest.fixture(scope="session")
def envctl_file() -> str | os.PathLike[str] | None:
    """The configuration file, relative to pytest's rootdir; None for the nearest envctl.yaml from there up."""
    return None


@pytest.fixture(scope="session")
def envctl_branch() -> str | None:
    """The branch whose environment is used; None for the one that is checked out."""
    return None


@pytest.fixture(scope="session")
def envctl_name() -> str | None:
    """Name of a second environment beside the branch's."""
    return None


@pytest.fixture(scope="session")
def envctl_engine(request: pytest.FixtureRequest) -> str | None:
    """The engine: --envctl-engine, or None for what the configuration says."""
    chosen: str | None = request.config.getoption("envctl_engine")
    return chosen


@pytest.fixture(scope="session")
def envctl_keep(request: pytest.FixtureRequest) -> bool:
    """Whether an environment that the run has made stays up after it: --envctl-keep."""
    return bool(request.config.getoption("envctl_keep"))


@pytest.fixture(scope="session")
def envctl_fresh(request: pytest.FixtureRequest) -> bool:
    """Whether an environment that is up already is removed first, with its data: --envctl-fresh."""
    return bool(request.config.getoption("envctl_fresh"))


@pytest.fixture(scope="session")
def envctl_timeout() -> float | None:
    """Seconds for becoming ready; None for the configuration's `ready_timeout`."""
    return None


@pytest.fixture(scope="session")
def postgres_template() -> Callable[[Connection], object] | None:
    """A function that fills the database that all others are made from; it is called once for all workers of a run.

    It gets the connection of a database that holds the baseline, or what the environment's own database holds.
    """
    return None


@pytest.fixture(scope="session")
def postgres_reset() -> ResetStrategy | None:
    """How `clean_postgres` and `fresh_postgres` put data back: "tables", "template"; None: as seems best."""
    return None


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _envctl(
    request: pytest.FixtureRequest,
    envctl_spec: Mapping[str, Any] | None,
    envctl_file: str | os.PathLike[str] | None,
    envctl_branch: str | None,
    envctl_name: str | None,
    envctl_engine: str | None,
    envctl_keep: bool,  # noqa: FBT001 - fixtures
    envctl_fresh: bool,  # noqa: FBT001 - a fixture
    envctl_timeout: float | None,
) -> Iterator[Using]:
    from envctl.fixtures.logs import Logs
    from envctl.fixtures.session import Wanted, using

    choice = (envctl_spec, envctl_file, envctl_branch, envctl_name, envctl_engine)
    wanted = Wanted(*choice, envctl_keep, envctl_fresh, envctl_timeout)
    config = request.config
    with using(run_of(config), wanted, config.rootpath, config.stash.setdefault(CLOSING, [])) as found:
        config.stash[LOGS] = Logs(found.environment)
        yield found
        del config.stash[LOGS]


@pytest.fixture(scope="session")
def envctl_environment(_envctl: Using) -> Environment:
    """The environment of this run, up and ready; the same one in all workers."""
    return _envctl.environment


@pytest.fixture(scope="session")
def envctl_variables(envctl_environment: Environment) -> Iterator[Mapping[str, str]]:
    """The variables that `envctl env` prints, set in os.environ until the end of the session."""
    own = {**envctl_environment.variables, "ENVCTL_SESSION": envctl_environment.session.id}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield own


@pytest.fixture(scope="session")
def postgres(envctl_environment: Environment) -> Connection:
    """The first Postgres: its database is the same one in all workers."""
    return _first(envctl_environment, "postgres")


@pytest.fixture(scope="session")
def redis(envctl_environment: Environment) -> Connection:
    """The first Redis: its database is the same one in all workers."""
    return _first(envctl_environment, "redis")


@pytest.fixture(scope="session")
def websocket(envctl_environment: Environment) -> Connection:
    """The first WebSocket server: its channels are the same in all workers."""
    return _first(envctl_environment, "websocket")


# -- data of one's own -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _envctl_databases(
    request: pytest.FixtureRequest,
    _envctl: Using,
    postgres: Connection,
    postgres_template: Callable[[Connection], object] | None,
    postgres_reset: ResetStrategy | None,
) -> Iterator[WorkerDatabases]:
    from envctl.fixtures.databases import WorkerDatabases

    own = (_envctl.environment, _envctl.run, _envctl.used.slot)
    databases = WorkerDatabases(postgres, *own, postgres_template, postgres_reset)
    with _told():
        databases.start()
    yield databases
    with _told():
        note_resets(request.config, databases.end())


@pytest.fixture(scope="session")
def worker_postgres(_envctl_databases: WorkerDatabases) -> Connection:
    """A database of this worker's own, made from the template."""
    with _told():
        return _envctl_databases.worker()


@pytest.fixture
def clean_postgres(_envctl_databases: WorkerDatabases, worker_postgres: Connection) -> Connection:
    """The worker's database, with what the template holds put back before the test; connections to it stay open."""
    with _told():
        _envctl_databases.clean()
    return worker_postgres


@pytest.fixture
def fresh_postgres(request: pytest.FixtureRequest, _envctl_databases: WorkerDatabases) -> Iterator[Connection]:
    """A database of this test's own, made from the template; it stays where the test fails, and the report names it."""
    with _told():
        made = _envctl_databases.test()
    request.node.stash[FRESH] = made
    yield made
    with _told():
        if request.node.stash.get(FAILED, False):
            _envctl_databases.keep(made, request.node.nodeid)
        else:
            _envctl_databases.give_back(made)


@pytest.fixture(scope="session")
def _envctl_redis(envctl_environment: Environment, redis: Connection) -> Iterator[WorkerRedis]:
    from envctl.fixtures.redis import WorkerRedis

    with _told():
        own = WorkerRedis(redis, envctl_environment.session.slot)
    yield own
    with _told():
        own.end(goes=envctl_environment.goes_with_its_users)


@pytest.fixture(scope="session")
def worker_redis(_envctl_redis: WorkerRedis) -> Connection:
    """A logical database of this worker's own; at the beginning it holds the baseline, or nothing."""
    return _envctl_redis.connection


@pytest.fixture
def clean_redis(_envctl_redis: WorkerRedis) -> Connection:
    """The worker's database with the baseline put back before the test, or emptied where there is none."""
    with _told():
        _envctl_redis.clean()
    return _envctl_redis.connection


@pytest.fixture(scope="session")
def worker_websocket(envctl_environment: Environment, websocket: Connection) -> Channels:
    """The WebSocket server, and channels of this worker's own: `worker_websocket.channel("orders")`."""
    from envctl.kinds.websocket.data import Channels

    return Channels(websocket, f"w{envctl_environment.session.slot}.")


def _told() -> AbstractContextManager[None]:
    from envctl.fixtures.errors import told

    return told()


def _first(environment: Environment, kind: str) -> Connection:

    with _told():
        return environment.first_of_kind(kind)
