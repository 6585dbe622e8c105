"""Files put into a real database: all of a file or nothing, and errors that name the line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from real_servers import eventually, postgres_binary

from envctl.errors import SeedFailed
from envctl.kinds.postgres import seeding
from envctl.kinds.postgres.data import connection_to
from envctl.kinds.postgres.files import script, sqlfile
from envctl.kinds.postgres.seeding import SUFFIXES, apply
from envctl.model import Connection

USERS = "CREATE TABLE users (id int PRIMARY KEY, name text, age int);\n"

Seed = Callable[[str, "str | bytes"], None]
Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def database(postgres: Connection) -> Iterator[Connection]:
    """An empty database."""
    name = f"seeded_{os.urandom(4).hex()}"
    with psycopg.connect(postgres.url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        yield connection_to(postgres, name)
        link.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def seed(database: Connection, tmp_path: Path) -> Seed:
    """Puts a file of this name and content into the database."""

    def put(name: str, content: str | bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        assert path.suffix in SUFFIXES
        apply(database, path, f"db/{name}")

    return put


@pytest.fixture
def ask(database: Connection) -> Iterator[Ask]:
    """What a statement finds."""
    with psycopg.connect(database.url, autocommit=True) as link:
        yield lambda sql: link.execute(sql.encode()).fetchall()


def place(error: pytest.ExceptionInfo[SeedFailed]) -> str:
    """Where an error says it is: file:line."""
    return error.value.message.split()[1]


def tables(ask: Ask) -> set[str]:
    return {str(name) for (name,) in ask("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384")}


# -- SQL ---------------------------------------------------------------------------------------------------------------


def test_what_pg_dump_writes_comes_back(seed: Seed, ask: Ask, database: Connection) -> None:
    """A dump with functions, rules, odd names and data in the middle of it is read as psql reads it."""
    original = r"""
    CREATE SCHEMA "Odd ""one";
    CREATE TABLE "Odd ""one".t (id int GENERATED ALWAYS AS IDENTITY, "a;b" text, raw bytea);
    INSERT INTO "Odd ""one".t ("a;b", raw) VALUES (E'tab\t nl\n \\. ; $$', '\x00ff'), (NULL, ''), ('\.', NULL);
    CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC
        SELECT CASE WHEN n > 0 THEN 1 ELSE 2 END; SELECT n; END;
    CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $x$ BEGIN /* ; */ RETURN NEW; END; $x$;
    CREATE TABLE log (t text);
    CREATE RULE r AS ON DELETE TO log DO ALSO (INSERT INTO log VALUES ('a;'); INSERT INTO log VALUES ('b'));
    """
    seed("one.sql", original)
    options = ["-h", database.host, "-p", str(database.port), "-U", database.user or ""]
    command = [postgres_binary("pg_dump"), *options, "-d", database.database or "", "--clean"]
    run = {"env": {"PGPASSWORD": database.password or ""}, "check": True, "capture_output": True}

    def dumped() -> bytes:
        lines = subprocess.run(command, **run).stdout.splitlines(keepends=True)
        return b"".join(line for line in lines if b"restrict " not in line)  # a word of its own each time

    dump = dumped()
    content = ask('SELECT * FROM "Odd ""one".t ORDER BY id')

    seed("dump.sql", b"\xef\xbb\xbf\\restrict abc\n" + dump.replace(b"\n", b"\r\n") + b"\\unrestrict abc\n")

    assert ask('SELECT * FROM "Odd ""one".t ORDER BY id') == content
    assert dumped() == dump
    assert ask("SELECT f(7)") == [(7,)]


BAD = [
    ("syntax", "SELECT 1;\n\nSELEC 2;\n", 3, "SELEC 2"),
    ("after many", "SELECT 1;\n" * 5000 + "SELECT ä, 'ü'\n  FROM nowhere;\n", 5002, "line 5002: FROM nowhere"),
    ("no position", USERS + "-- c\nINSERT INTO users\n VALUES (1), (1);\nSELECT 1;", 3, "INSERT INTO users VALUES"),
    ("in a function", "SELECT 1;\nDO\n$$BEGIN\n PERFORM 1/0;\nEND $$;\n", 4, "line 4: PERFORM 1/0;"),
    ("copy", USERS + "COPY users FROM stdin;\n1\ta\t1\n2\tb\tx\n\\.\n", 4, "context: COPY users, line 2, column age"),
    ("copy without end", USERS + "COPY users FROM stdin;\n1\ta\t1\n", 2, ""),
    ("encoding", b"SELECT 1;\nSELECT 'a\xe9';\n", 2, "SELECT 'a"),
    ("zero", b"SELECT 1;\nSELECT\n'a\0';\n", 3, ""),
    ("a quote that does not close", "SELECT 1;\nSELECT 'a;\n\n", 2, "SELECT 'a;"),
    ("psql", "SELECT 1;\n\\i other.sql\n", 2, ""),
    ("psql in the middle", "SELECT 1;\nSELECT 2 \\gset\n", 2, ""),
    ("two that allow none", "SELECT 1;\nVACUUM;\n", 2, "VACUUM"),
    ("prepared", "SELECT 1;\nPREPARE TRANSACTION 'x';\n", 2, "PREPARE TRANSACTION"),
    ("open", "SELECT 1;\nBEGIN;\nSELECT 2;\n", 2, ""),
    (
        "at commit",
        "CREATE TABLE d (i int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO d VALUES (1), (1);",
        2,
        "COMMIT",
    ),
    ("utf-16", "SELECT 1;".encode("utf-16"), 1, ""),
    ("custom", b"PGDMP\x01", 1, ""),
]


@pytest.mark.provokes("SEED_FAILED")
@pytest.mark.parametrize(("content", "line", "seen"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_an_error_names_its_line(seed: Seed, ask: Ask, content: str | bytes, line: int, seen: str) -> None:
    """Whatever is wrong, the error has file:line, the statement and what else the server said; nothing stays."""
    before = b"CREATE TABLE early (id int); "
    with pytest.raises(SeedFailed) as caught:
        seed("bad.sql", content if isinstance(content, bytes) and content[:1] != b"S" else before + encoded(content))
    assert place(caught) == f"db/bad.sql:{line}"
    assert seen in "\n".join(caught.value.evidence)
    assert (caught.value.exit, caught.value.subject["rolled_back"]) == (86, True)
    assert caught.value.cause
    assert tables(ask) == set()


def encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_the_files_own_transactions_are_parts_of_one(seed: Seed, ask: Ask) -> None:
    """What the file rolls back is rolled back, what it commits stays, and an error after it takes all back."""
    own = USERS + "BEGIN; INSERT INTO users VALUES (1); COMMIT;\nSTART TRANSACTION; DELETE FROM users; ROLLBACK;\n"
    own += "begin; insert into users values (2); savepoint s; delete from users; rollback to s; end;"
    with pytest.raises(SeedFailed):
        seed("bad.sql", own + "SELECT 1/0;")
    assert tables(ask) == set()
    seed("good.sql", own)
    assert ask("SELECT id FROM users ORDER BY 1") == [(1,), (2,)]


def test_a_single_statement_needs_no_transaction(seed: Seed, ask: Ask) -> None:
    """A file of one statement may hold what allows no transaction; an empty file is fine too."""
    seed("create.sql", USERS)
    seed("index.sql", "-- alone\nCREATE INDEX CONCURRENTLY by_name ON users (name);\n/* done */ ;")
    seed("nothing.sql", "-- nothing\n")
    with pytest.raises(SeedFailed) as caught:
        seed("twice.sql", "CREATE UNIQUE INDEX CONCURRENTLY by_name ON users (name)")
    assert not caught.value.subject["rolled_back"]
    assert ask("SELECT 1 FROM pg_class WHERE relname = 'by_name'") == [(1,)]


def test_old_dumps_with_backslashes(seed: Seed, ask: Ask) -> None:
    """Where the file says that plain strings have escapes, they have them."""
    seed("old.sql", USERS + r"SET standard_conforming_strings = off; INSERT INTO users VALUES (1, 'it\'s; x');")
    assert ask("SELECT name FROM users") == [("it's; x",)]


def test_a_large_file_is_read_in_pieces(seed: Seed, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the file falls into pieces and batches, the same is read; data is as many pieces as it takes."""
    rows = "".join(f"{number}\t{'x' * (number % 50)}\t\\N\n" for number in range(20_000))
    text = USERS + f"COPY users FROM stdin;\n{rows}\\.\n\nSELECT 'a;' /* ; */, E'\\';', $q$;$q$; -- end ;\n" * 1
    for size in (1, 7, 4096):
        monkeypatch.setattr(script, "_PIECE", size)
        monkeypatch.setattr(sqlfile, "_MOST_BYTES", size)
        content = (
            text if size == 4096 else USERS + "COPY users FROM stdin;\n1\ta\t2\n\\.\nSELECT 'a;', E'\\';' , $q$;$q$;"
        )
        seed("large.sql", "DROP TABLE IF EXISTS users;" + content)
    assert ask("SELECT count(*), count(age), sum(length(name)) FROM users") == [(20_000, 0, 490_000)]


def test_a_statement_ends_with_us(seed: Seed, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody waits for a statement any more, it does not go on, and holds no locks."""
    monkeypatch.setattr(seeding, "_LIMIT_S", 1.0)
    with pytest.raises(SeedFailed, match=r"slow\.sql") as caught:
        seed("slow.sql", "SELECT pg_sleep(60);")
    assert "did not answer within 1 s" in str(caught.value.cause)
    running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%' AND pid <> pg_backend_pid()"
    eventually(lambda: not ask(running))


# -- CSV ---------------------------------------------------------------------------------------------------------------

ITEMS = """
CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, note text DEFAULT 'none', age int,
    twice int GENERATED ALWAYS AS (age * 2) STORED);
CREATE SCHEMA own; CREATE TABLE own.log (id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT -1), "Text, long" text);
"""


def test_rows_come_in_as_they_are_written(seed: Seed, ask: Ask) -> None:
    """Quotes, line breaks, NULL and empty text; columns that are missing get their default; generated ones are made."""
    seed("1.sql", ITEMS)
    seed("02_items.csv", '\ufeffage , name,twice\r\n7,"a ""b""\r\nc, ü",9\r\n,"",\r\n\r\n')
    assert ask("SELECT id, name, note, age, twice FROM items ORDER BY id") == [
        (1, 'a "b"\r\nc, ü', "none", 7, 14),
        (2, "", "none", None, None),
    ]


def test_numbers_that_were_given_are_not_given_again(seed: Seed, ask: Ask) -> None:
    """The next row gets a number of its own, also where the sequence counts down; a smaller number moves nothing."""
    seed("1.sql", ITEMS)
    seed("items.csv", "id,name\n40,a\n2,b\n")
    seed("own.log.csv", 'id,"Text, long"\n-9,x\n')
    assert ask("INSERT INTO items (name) VALUES ('c') RETURNING id") == [(41,)]
    seed("items.csv", "id,name\n7,d\n")
    assert ask("INSERT INTO items (name) VALUES ('e') RETURNING id") == [(42,)]
    assert ask("INSERT INTO own.log DEFAULT VALUES RETURNING id") == [(-10,)]


@pytest.mark.parametrize(
    ("name", "content", "where", "words"),
    [
        (
            "items.csv",
            'id,name,age\n1,"a\nb",1\n2,b,x\n',
            "items.csv:4",
            'context: COPY items, line 4, column age: "x"',
        ),
        ("items.csv", "id,name\n1,a\n2\n", "items.csv:3", "missing data"),
        ("items.csv", b"id,name\n1,a\n2,\xe9\n", "items.csv:3", "UTF8"),
        ("items.csv", "id,nmae\n1,a\n", "items.csv:1", 'did you mean "name"'),
        ("items.csv", "id;name\n1;a\n", "items.csv:1", "by commas"),
        ("items.csv", "", "items.csv:1", "header"),
        ("itmes.csv", "id,name\n", "itmes.csv", '"items.csv"'),
    ],
)
def test_an_error_in_a_table_of_rows(
    seed: Seed, ask: Ask, name: str, content: str | bytes, where: str, words: str
) -> None:
    """The line is the file's, also after line breaks in quotes, and nothing of the file stays."""
    seed("1.sql", ITEMS)
    with pytest.raises(SeedFailed) as caught:
        seed(name, content)
    assert place(caught) == f"db/{where}"
    assert words in "\n".join([caught.value.cause or "", *caught.value.evidence, *caught.value.fix])
    assert ask("SELECT count(*) FROM items") == [(0,)]
