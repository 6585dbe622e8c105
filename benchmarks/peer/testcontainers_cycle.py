"""Postgres and Redis by Testcontainers: up, one line on stdout, then down when stdin ends.

Tuned as far as its interface goes: started and stopped side by side, no driver, servers set as by envctl.
TC_POOLING_INTERVAL (a second by default) is set by the caller.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer

LABELS = {os.environ["BENCHMARK_MARK"]: "1"}
SETTINGS = "postgres -c shared_buffers=32MB -c max_connections=200 -c fsync=off -c synchronous_commit=off"
postgres = (
    PostgresContainer("postgres:18", driver=None)
    .with_env("POSTGRES_INITDB_ARGS", "--no-sync")
    .with_command(f"{SETTINGS} -c full_page_writes=off")
    .with_kwargs(labels=LABELS)
)
redis = RedisContainer("redis:8", password="secret").with_kwargs(labels=LABELS)

with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda container: container.start(), (postgres, redis)))
    print("ready", flush=True)
    sys.stdin.read()
    list(pool.map(lambda container: container.stop(), (postgres, redis)))
