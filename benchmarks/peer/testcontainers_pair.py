"""Postgres and Redis by Testcontainers, tuned as far as its interface goes.

Started and stopped side by side, no driver, servers set as by envctl. TC_POOLING_INTERVAL (a second by default) is set
by the caller.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer

LABELS = {os.environ["BENCHMARK_MARK"]: "1"}
SETTINGS = "postgres -c shared_buffers=32MB -c max_connections=200 -c fsync=off -c synchronous_commit=off"


class Pair:
    """A context manager: both are up in the block."""

    def __init__(self) -> None:
        self.postgres = (
            PostgresContainer("postgres:18", driver=None)
            .with_env("POSTGRES_INITDB_ARGS", "--no-sync")
            .with_command(f"{SETTINGS} -c full_page_writes=off")
            .with_kwargs(labels=LABELS)
        )
        self.redis = RedisContainer("redis:8", password="secret").with_kwargs(labels=LABELS)

    def __enter__(self) -> "Pair":
        self._both("start")
        return self

    def __exit__(self, *error: object) -> None:
        self._both("stop")

    def _both(self, what: str) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda container: getattr(container, what)(), (self.postgres, self.redis)))
