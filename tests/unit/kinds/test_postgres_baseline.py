"""The baseline of a real Postgres, and the ways back to it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from database_checksums import checksums
from postgres_inside import Inside
from real_servers import eventually

from envctl.errors import DataFailed, NoBaseline, ResetBlocked
from envctl.host import clock
from envctl.kinds.postgres import baseline
from envctl.kinds.postgres.data import Databases, connection_to
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.resets import resetter, tracking
from envctl.kinds.postgres.resets.baseline_swap import names_of
from envctl.model import Connection, ResetStrategy

SCHEMA = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what jsonb,
    customer int REFERENCES customers ON DELETE CASCADE);
CREATE TABLE log (line text);
INSERT INTO customers (name) SELECT 'c' || g FROM generate_series(1, 20) g;
INSERT INTO orders (customer, what) SELECT id, '{}' FROM customers;
INSERT INTO log VALUES ('twice'), ('twice'), (NULL);
"""


@pytest.fixture
def base(postgres: Connection) -> Iterator[Connection]:
    """A database with a small shop in it, that knows of no baseline."""
    name = f"baseline_{uuid.uuid4().hex[:12]}"
    run(postgres, f"CREATE DATABASE {name} TEMPLATE template0")
    where = connection_to(postgres, name)
    run(where, SCHEMA)
    yield where
    databases = Databases(postgres)
    databases.drop(*databases.names(name))


@contextmanager
def session(where: Connection) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(where.url, autocommit=True) as link:
        yield link


def run(where: Connection, text: str) -> list[tuple[Any, ...]]:
    with session(where) as link:
        done = link.execute(text.encode())
        return done.fetchall() if done.description else []


def others(where: Connection) -> list[tuple[str | None, ...]]:
    with Client(connection_to(where, "postgres"), 5.0) as client:
        return client.rows("SELECT pid FROM pg_stat_activity WHERE datname = %s", where.database or "")


def take(where: Connection, strategy: ResetStrategy = "tables") -> dict[str, Any]:
    eventually(lambda: not others(where))
    baseline.take(where, strategy, Inside(where))
    return checksums(where)


MESS = """
DELETE FROM customers WHERE id < 5; UPDATE customers SET name = name || '!'; INSERT INTO log VALUES ('new');
INSERT INTO orders (what) VALUES ('[]'); SELECT nextval('customers_id_seq')
"""


# -- by tables ---------------------------------------------------------------------------------------------------------


def test_rows_and_sequences_come_back_and_connections_stay(base: Connection) -> None:
    """A reset puts back rows and sequences, tells how many tables it were, and an open connection just goes on."""
    before = take(base)
    with session(base) as link:
        link.execute("LISTEN events")
        link.execute(MESS.encode(), prepare=False)

        report = baseline.reset(base)

        assert (report.service, report.strategy, report.changed, report.note) == ("postgres", "tables", 3, "")
        assert link.execute("INSERT INTO customers (name) VALUES ('next') RETURNING id").fetchall() == [(21,)]
        assert baseline.reset(base).changed == 1
        assert list(link.notifies(timeout=0)) == []
    assert checksums(base) == before


def test_only_what_was_touched_is_looked_at(base: Connection) -> None:
    """A reset of what nobody touched changes nothing; what was rolled back has moved no more than a sequence."""
    before = take(base)
    with baseline_session(base) as resets:
        assert resets.reset().changed == 0
        with session(base) as link, link.transaction(force_rollback=True):
            link.execute("INSERT INTO customers (name) VALUES ('gone')")
        assert checksums(base) != before
        assert resets.reset().changed == 0
    assert checksums(base) == before


SEQUENCES = """
CREATE SEQUENCE never; CREATE SEQUENCE down INCREMENT -3 CYCLE; CREATE UNLOGGED SEQUENCE cached CACHE 20;
CREATE SEQUENCE away MINVALUE -9 START 5; SELECT setval('away', 77, false);
CREATE SEQUENCE called; SELECT nextval('called'); CREATE SEQUENCE put; SELECT setval('put', 40)
"""
MOVES = (
    "nextval('{0}')", "setval('{0}', last_value)", "setval('{0}', last_value, false)", "setval('{0}', -1, false)",
    "setval('{0}', 3, false)", "setval('{0}', 3)", "setval('{0}', nextval('{0}'), false)",
)  # fmt: skip


@pytest.mark.parametrize("way", ["_MOVED", "_MOVED_OLDER"])
def test_a_sequence_that_moved_and_no_table(base: Connection, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A sequence comes back however it was moved, kept or rolled back, where no row and no note tells of it."""
    run(base, SEQUENCES)
    with session(base) as link:
        if link.info.server_version >= 180000:
            monkeypatch.setattr(tracking, "_MOVED", getattr(tracking, way))
    before = take(base)
    names = [name for (name,) in run(base, "SELECT relname::text FROM pg_class WHERE relkind = 'S'")]
    moved = 0
    with baseline_session(base) as resets, session(base) as link:
        for move in MOVES:
            for number, name in enumerate(names):
                with suppress(psycopg.Error), link.transaction(force_rollback=number % 2 > 0):
                    link.execute(f"SELECT {move.format(name)} FROM {name}".encode())
            moved += checksums(base) != before
            report = resets.reset()
            assert (report.strategy, report.changed) == ("tables", 0)
            assert checksums(base) == before
    assert moved == len(MOVES)


@contextmanager
def baseline_session(where: Connection, strategy: ResetStrategy | None = None) -> Iterator[baseline.Resetter]:
    resets = baseline.Resetter(where, strategy)
    try:
        yield resets
    finally:
        resets.close()


def test_a_later_baseline_replaces_the_former(base: Connection) -> None:
    """After another `take` a reset goes back to what was there then."""
    take(base)
    run(base, MESS)
    later = take(base)
    run(base, "DELETE FROM log; DELETE FROM customers")
    baseline.reset(base)
    assert checksums(base) == later


def test_notes_that_a_crash_of_the_server_has_taken(base: Connection) -> None:
    """After a crash, which empties unlogged tables as that of the notes, everything counts as touched."""
    before = take(base)
    run(base, MESS)
    run(base, "TRUNCATE envctl.touched, envctl.alive")
    assert baseline.reset(base).changed == 3
    assert checksums(base) == before
    assert baseline.reset(base).changed == 0


def test_a_large_table_is_emptied_or_mended(base: Connection) -> None:
    """Thousands of new rows go at once, and of thousands of old ones the few that changed come back."""
    run(base, "INSERT INTO customers (name) SELECT 'more' || g FROM generate_series(1, 20000) g")
    before = take(base)
    with baseline_session(base) as resets:
        for work in (
            "INSERT INTO log SELECT 'x' FROM generate_series(1, 50000)",
            "INSERT INTO customers (name) SELECT 'new' || g FROM generate_series(1, 50000) g",
            "UPDATE customers SET name = name || '!' WHERE id % 1000 = 0; DELETE FROM customers WHERE id % 777 = 0",
            "UPDATE customers SET name = name || '!'",
            "TRUNCATE customers CASCADE",
        ):
            run(base, work)
            resets.reset()
            assert checksums(base) == before


def test_of_a_large_table_only_touched_rows_are_read(base: Connection) -> None:
    """Rows that were added, changed or removed in a large table are found by their keys, whoever changed them."""
    run(base, "INSERT INTO customers (name) SELECT 'more' || g FROM generate_series(1, 20000) g")
    odd = """noted, tg_op, "$f$'%" """
    run(base, f'CREATE TABLE odd (noted int, tg_op int, "$f$\'%" int, PRIMARY KEY ({odd}))')
    run(base, "INSERT INTO odd SELECT g, g, g FROM generate_series(1, 6000) g")
    before = take(base)
    run(base, "INSERT INTO odd VALUES (0, 0, 0)")
    run(base, "UPDATE customers SET id = -77 WHERE id = 77; DELETE FROM customers WHERE id = 8")
    run(base, "SET session_replication_role = replica; INSERT INTO customers (name) VALUES ('new')")
    scans = scans_of_all(base)
    assert baseline.reset(base).changed == 3  # and orders, which refer to them
    assert scans_of_all(base) == scans
    assert checksums(base) == before
    run(base, "UPDATE customers SET name = name || '!'")
    baseline.reset(base)
    assert scans_of_all(base) > scans  # so many that this is faster
    assert checksums(base) == before


def scans_of_all(where: Connection) -> Any:
    eventually(lambda: not others(where))  # who leaves tells what it has read
    names = "'customers', 'odd', 'copy_1', 'copy_2'"
    return run(where, f"SELECT sum(seq_scan) FROM pg_stat_all_tables WHERE relname IN ({names})")


def test_a_baseline_taken_beside_a_listener(base: Connection) -> None:
    """Where somebody is connected, the template is dumped and read back; it and its copies can be reset as well."""
    with session(base) as link:
        link.execute("LISTEN events")
        inside = Inside(base)
        baseline.take(base, "tables", inside)
        assert inside.commands
        assert link.execute("SELECT 1").fetchone() == (1,)
    before = checksums(base)
    databases = Databases(base)
    clone = databases.clone(baseline.baseline_name(base.database or ""), f"{base.database}_w1")
    for where in (clone, base):
        run(where, MESS)
        baseline.reset(where)
        assert rows_of(checksums(where)) == rows_of(before)


def rows_of(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if "." in name}


def test_copies_of_an_instrumented_template(base: Connection) -> None:
    """A run's own template is instrumented once, and each of its copies is reset by itself, also by a swap."""
    databases = Databases(base)
    name = f"{base.database}_run"
    template = databases.make_template(name, Inside(base))
    baseline.instrument(template, name, "auto")
    databases.seal(name)
    one, two = (databases.clone(name, f"{base.database}_w{number}") for number in (1, 2))
    before = checksums(one)
    run(one, MESS)
    run(two, "ALTER TABLE log ADD COLUMN more int")
    assert baseline.reset(one).strategy == "tables"
    assert baseline.reset(two).strategy == "template"
    assert checksums(one) == checksums(two) == before


def test_two_resets_at_once(base: Connection) -> None:
    """Resets at the same time wait for each other, and all of them end well."""
    before = take(base)
    run(base, MESS)
    strategies: list[str] = []
    threads = [threading.Thread(target=lambda: strategies.append(baseline.reset(base).strategy)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert strategies == ["tables"] * 4
    assert checksums(base) == before


def test_a_kept_connection_that_was_ended_is_made_anew(base: Connection) -> None:
    """A reset goes on after the server has ended the connection it keeps."""
    before = take(base)
    with baseline_session(base) as resets:
        resets.reset()
        run(base, MESS)
        run(connection_to(base, "postgres"), f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{base.database}'")  # fmt: skip
        assert resets.reset().changed == 3
    assert checksums(base) == before


def test_a_reset_that_was_cut_off(base: Connection) -> None:
    """A reset whose connection ends in the middle has changed no row, and the next one puts everything back."""
    before = take(base)
    run(base, MESS)
    link = psycopg.connect(base.url)
    link.execute("SET session_replication_role = replica; SELECT envctl.reset()", prepare=False)
    run(connection_to(base, "postgres"), f"SELECT pg_terminate_backend({link.info.backend_pid})")
    link.close()
    assert run(base, "SELECT count(*) FROM log") == [(4,)]
    assert baseline.reset(base).changed == 3
    assert checksums(base) == before


# -- who is in the way -------------------------------------------------------------------------------------------------


def test_a_forgotten_transaction_is_ended(base: Connection) -> None:
    """Who wrote, and left the transaction open, is sent away after a second, and the report says so; a reader stays."""
    before = take(base)
    with psycopg.connect(base.url) as reader, psycopg.connect(base.url, application_name="worker") as writer:
        reader.execute("SELECT count(*) FROM customers")
        writer.execute("UPDATE customers SET name = name || '!'")

        report = baseline.reset(base)

        assert "ended a session" in report.note
        assert "(worker, user" in report.note
        assert "UPDATE customers" in report.note
        assert reader.execute("SELECT count(*) FROM customers").fetchone() == (20,)
        with pytest.raises(psycopg.OperationalError):
            writer.execute("SELECT 1")
    assert checksums(base) == before


def test_a_moment_between_two_statements_is_no_forgotten_transaction(base: Connection) -> None:
    """Who goes on with a transaction, one statement after another, is waited for, however long the reset has waited."""
    before = take(base)
    with psycopg.connect(base.url) as writer:
        writer.execute("INSERT INTO log VALUES ('at work')")
        resets = threading.Thread(target=baseline.reset, args=(base,))
        resets.start()
        began_s = clock.monotonic_s()
        while clock.monotonic_s() < began_s + 1.5:
            writer.execute("SELECT 1")
            clock.sleep_s(0.02)  # in which it is idle
        writer.commit()
        resets.join()
    assert checksums(base) == before


@pytest.mark.provokes("RESET_BLOCKED")
def test_who_is_at_work_is_not_ended(base: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is in the middle of a statement is waited for, and named at the end; nothing was changed."""
    take(base)
    monkeypatch.setattr(resetter, "_BLOCKED_S", 0.5)
    run(base, "INSERT INTO log VALUES ('before')")
    with psycopg.connect(base.url) as writer:
        writer.execute("INSERT INTO log VALUES ('busy')")
        busy = threading.Thread(target=_ends_later, args=(writer,))
        busy.start()
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
        eventually(lambda: run(base, sleeping))
        with pytest.raises(ResetBlocked) as caught:
            baseline.reset(base)
        writer.cancel_safe()
        busy.join()
    assert "pg_sleep(30)" in str(caught.value.evidence)
    assert ("before",) in run(base, "SELECT line FROM log")


def _ends_later(link: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        link.execute("SELECT pg_sleep(30)")


# -- by a copy ---------------------------------------------------------------------------------------------------------


def test_a_changed_schema_is_answered_by_a_copy(base: Connection) -> None:
    """After a change of the schema a copy of the baseline takes the database's place, and the report says why."""
    before = take(base)
    with session(base) as link:
        link.execute("CREATE TEMP TABLE log (id serial, a text); DROP TABLE pg_temp.log")
        assert baseline.reset(base).strategy == "tables"
        link.execute("ALTER TABLE log ADD COLUMN more int; DROP TABLE orders")

        report = baseline.reset(base)

        assert report.strategy == "template"
        assert "the schema had changed: ALTER TABLE public.log; DROP TABLE public.orders" in report.note
        with pytest.raises(psycopg.OperationalError):
            link.execute("SELECT 1")
    assert checksums(base) == before
    assert baseline.reset(base).strategy == "tables"


def test_rows_that_are_refused_now(base: Connection) -> None:
    """Where the baseline's rows do not pass a check any more, a copy is put in place of the database."""
    run(base, "ALTER TABLE log ADD CHECK (line <> 'twice') NOT VALID")
    before = take(base)
    run(base, "DELETE FROM log")
    report = baseline.reset(base)
    assert (report.strategy, "log_line_check" in report.note) == ("template", True)
    assert checksums(base) == before


def test_a_database_that_forgot_its_baseline(base: Connection) -> None:
    """Where a test has removed every schema, envctl's too, the template is found by its name."""
    before = take(base)
    run(base, "DROP SCHEMA envctl CASCADE; DROP SCHEMA public CASCADE")
    report = baseline.reset(base)
    assert (report.strategy, "did not know its baseline" in report.note) == ("template", True)
    assert checksums(base) == before


def test_always_by_template(base: Connection) -> None:
    """With `template` every reset is a swap with a copy that was made ahead; nothing is left over at the end."""
    before = rows_of(take(base, "template"))
    spare, *leftovers = names_of(base.database or "")
    assert spare in Databases(base).names(base.database or "")
    with baseline_session(base) as resets:
        for _ in range(2):
            run(base, MESS)
            assert resets.reset().strategy == "template"
            assert rows_of(checksums(base)) == before
    assert not {*leftovers} & {*Databases(base).names(base.database or "")}


def test_what_a_killed_swap_has_left(base: Connection) -> None:
    """A swap finds what one that was killed has left: a copy that was not finished, a database that was replaced."""
    before = rows_of(take(base, "template"))
    _, unfinished, old = names_of(base.database or "")
    for name in (unfinished, old):
        run(connection_to(base, "postgres"), f'CREATE DATABASE "{name}"')
    with session(connection_to(base, old)):  # somebody is even connected to it
        baseline.reset(base)
    assert rows_of(checksums(base)) == before
    assert Databases(base).names(f"{base.database}_") == [baseline.baseline_name(base.database or "")]


def test_a_swap_ends_well_while_others_connect(base: Connection) -> None:
    """An application that connects again and again does not keep a copy from taking the database's place."""
    take(base)
    over = threading.Event()
    threads = [threading.Thread(target=_connect_again, args=(base, over)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with baseline_session(base, "template") as resets:
            assert resets.reset().strategy == "template"
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _connect_again(where: Connection, over: threading.Event) -> None:
    while not over.is_set():
        try:
            with psycopg.connect(where.url) as link:
                over.wait(0.01)
                link.execute("SELECT 1")
        except psycopg.Error:
            continue


def test_no_superuser(base: Connection) -> None:
    """A user who may make databases, but is no superuser, gets resets by template, and is told why."""
    name = f"{base.database}_clerk"
    run(
        base,
        f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'x'; ALTER DATABASE {base.database} OWNER TO {name};"
        f" GRANT pg_signal_backend TO {name}; ALTER TABLE log OWNER TO {name}",
    )
    url = base.url.replace(f"//{base.user}:{base.password}@", f"//{name}:x@")
    clerk = replace(base, user=name, password="x", url=url)
    try:
        eventually(lambda: not others(base))
        baseline.take(clerk, "auto", Inside(clerk))
        run(clerk, "DELETE FROM log")
        report = baseline.reset(clerk)
        assert (report.strategy, "no superuser" in report.note) == ("template", True)
        assert len(run(clerk, "SELECT * FROM log")) == 3
    finally:
        databases = Databases(base)
        databases.drop(*databases.names(f"{base.database}_"))
        run(base, f"REASSIGN OWNED BY {name} TO {base.user}; DROP OWNED BY {name}; DROP ROLE {name}")


def test_auto_chooses_copies_where_rows_take_longer(base: Connection) -> None:
    """With `auto`, five resets in a row that take much longer than a copy are the last by tables; it is said."""
    before = take(base, "auto")
    with baseline_session(base) as resets:
        run(base, MESS)
        assert resets.reset().note == ""
        run(base, "UPDATE envctl.meta SET copy_ms = -100")
        resets.close()
        notes = [resets.reset().note for _ in range(5)]
        assert notes[:4] == [""] * 4
        assert "from now on by template (auto" in notes[4]
        report = resets.reset()
        assert (report.strategy, "auto: chosen because" in report.note) == ("template", True)
    assert run(base, "SELECT strategy FROM envctl.meta") == [("template",)]
    assert rows_of(checksums(base)) == rows_of(before)


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.provokes("NO_BASELINE")
def test_no_baseline(base: Connection) -> None:
    """A reset of a database of which no baseline was taken is refused."""
    with pytest.raises(NoBaseline):
        baseline.reset(base)


def test_a_template_that_is_gone(base: Connection) -> None:
    """Who was killed while a baseline was taken leaves no template: only a reset that needs it is refused."""
    before = take(base)
    Databases(base).drop(baseline.baseline_name(base.database or ""))
    run(base, MESS)
    assert baseline.reset(base).strategy == "tables"
    assert checksums(base) == before
    run(base, "DROP TABLE orders")
    with pytest.raises(NoBaseline) as caught:
        baseline.reset(base)
    assert "DROP TABLE public.orders" in str(caught.value.evidence)
    run(base, "DELETE FROM envctl.meta")  # that is written last
    with pytest.raises(NoBaseline, match="is gone"):
        baseline.reset(base)
    assert run(base, "SELECT count(*) FROM customers") == [(20,)]


def test_a_baseline_that_cannot_be_taken(base: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the template cannot be made, there is no baseline, and nothing of it is left."""

    def fails(*_: object) -> tuple[int, str]:
        return 1, "no room"

    with session(base) as link:
        with pytest.raises(DataFailed) as caught:
            baseline.take(base, "tables", fails)
        assert link.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'envctl'").fetchall() == []
        link.execute("CREATE TABLE fine (id int)")
    assert "no room" in str(caught.value.evidence)
    assert Databases(base).names(f"{base.database}_") == []
