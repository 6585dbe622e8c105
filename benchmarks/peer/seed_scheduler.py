"""Seeds the database and the Redis of examples/scheduler, as a program of such a repository would.

Usage: seed_scheduler.py, in the example's folder, migrated, with DATABASE_URL and REDIS_URL
"""

import json
import os
from pathlib import Path

import psycopg
import redis

FIXTURES = Path("fixtures")


def database() -> None:
    """Each file in a transaction of its own; CSV by COPY, which is the quickest."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as link:
        for file in (*sorted(FIXTURES.glob("*.sql")), *sorted(FIXTURES.glob("*.csv")), *FIXTURES.glob("after/*.sql")):
            with link.transaction():
                if file.suffix == ".sql":
                    link.execute(file.read_bytes())
                else:
                    copy(link, file)


def copy(link: psycopg.Connection, file: Path) -> None:
    """Into the table that the file's name tells."""
    text = file.read_bytes()
    columns = text.split(b"\n", 1)[0].decode()
    table = file.stem.split("-", 1)[1]
    with link.cursor().copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, HEADER)".encode()) as into:
        into.write(text)


def store() -> None:
    """All keys in one pipeline."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client, client.pipeline(transaction=False) as pipe:
        for key, given in json.loads((FIXTURES / "redis.json").read_bytes()).items():
            value = given["value"] if isinstance(given, dict) and "value" in given else given
            kind = given.get("type") if value is not given else type(value).__name__
            {
                "str": lambda key=key, value=value: pipe.set(key, value),
                "string": lambda key=key, value=value: pipe.set(key, value),
                "dict": lambda key=key, value=value: pipe.hset(key, mapping=value),
                "list": lambda key=key, value=value: pipe.rpush(key, *value),
                "set": lambda key=key, value=value: pipe.sadd(key, *value),
                "zset": lambda key=key, value=value: pipe.zadd(key, value),
                "stream": lambda key=key, value=value: [pipe.xadd(key, one["fields"]) for one in value],
            }[kind]()
            if isinstance(given, dict) and given.get("ttl"):
                pipe.expire(key, 3600)
        pipe.execute()


database()
store()
