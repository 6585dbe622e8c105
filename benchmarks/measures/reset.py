"""A database put back to its baseline, beside what test suites do instead; and how that grows.

One Postgres without containers serves all of them. What is touched before each reset is not counted, nor is the new
connection that an application needs after its database was dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from benchmarks import schema
from benchmarks.cycles import timed
from benchmarks.figures import Budget, Row, Series, interleave
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, running
from benchmarks.reach import attached, seconds, servers
from benchmarks.sandbox import Sandbox
from benchmarks.tools import EnvctlProject
from envctl.kinds.postgres import baseline
from envctl.kinds.postgres.data import Databases, connection_to
from envctl.kinds.postgres.resets.resetter import Resetter
from envctl.model import Connection

_FAMILY = "reset"
_NUMBER = 100
_API, _RESETTER, _COMMAND, _STDIN = "Environment.reset()", "a fixture's reset", "envctl reset", "envctl reset --stdin"
_TRUNCATE = "TRUNCATE of all tables"
_TEMPLATE, _COPY = "DROP, CREATE DATABASE … TEMPLATE", "DROP, CREATE DATABASE … TEMPLATE … STRATEGY file_copy"
_ANEW = "DROP, CREATE DATABASE, migrate, seed"
_ROWS = 100_000
_NOTES = {
    _TRUNCATE: "TRUNCATE: one statement, over a connection that is open; it brings no row back",
    _TEMPLATE: "DROP, CREATE DATABASE: two statements, over an open connection; the application has to connect anew",
    _ANEW: "migrate, seed: the tables and their rows, sent as one text over one new connection",
}
Commands = dict[str, Callable[[], float]]


def measure(place: Sandbox, options: Options) -> list[Row]:
    """100 tables of 50 rows first, then the curves."""
    files = {"schema.sql": schema.tables(_NUMBER)}
    with servers(place, _FAMILY, "{postgres: {seed: schema.sql}}", files) as (project, reach):
        server = reach["postgres"]
        rows = [*_hundred(project, server, options), *_commands(project, server, options)]
        rows += [row for number in options.tables for row in _by_tables(server, number, options)]
        return [*rows, *_by_rows(server, options)]


# -- 100 tables --------------------------------------------------------------------------------------------------------


def _hundred(project: EnvctlProject, server: Connection, options: Options) -> list[Row]:
    """In the environment's own database, and beside it in databases that hold the same."""
    script, resetter = schema.tables(_NUMBER), Resetter(server)
    with ExitStack() as held:
        held.callback(resetter.close)
        environment = held.enter_context(attached(project))
        app = held.enter_context(schema.session(server))
        touch = partial(app.execute, schema.touch(_NUMBER).encode())
        ours: Commands = {
            _API: seconds(environment.reset, touch),
            _RESETTER: seconds(resetter.reset, touch),
            f"{_RESETTER}, nothing": seconds(resetter.reset),
        }
        peers: Commands = {
            **held.enter_context(_truncating(server, _NUMBER)),
            **held.enter_context(_copying(server, script, schema.touch(_NUMBER))),
            **held.enter_context(_made_anew(server, script)),
        }
        _check_reset(ours[_API], server)
        # One after the other: a server that has just dropped and copied databases is busy for a while after that.
        found = {**interleave(options.quick_runs, ours), **interleave(options.quick_runs, peers)}
    touched = f"reset, {_NUMBER} tables, 3 touched: "
    rows = [_row(found, name, touched + name, peer) for name in (_API, _RESETTER) for peer in _peers(name)]
    return [*rows, _row(found, f"{_RESETTER}, nothing", f"reset, {_NUMBER} tables, none touched", "")]


def _peers(name: str) -> Sequence[str]:
    return (_TRUNCATE, _TEMPLATE, _COPY, _ANEW) if name == _API else (_TRUNCATE,)


def _check_reset(once: Callable[[], float], server: Connection) -> None:
    """What is measured is a reset: the rows are back."""
    once()
    with schema.session(server) as link:
        found = [
            link.execute(f"SELECT count(*), sum(amount) FROM t{_NUMBER - n}".encode()).fetchone() for n in range(3)
        ]
    if len(set(found)) != 1:
        raise BenchmarkError(f"a reset has left different rows: {found}")


@contextmanager
def _truncating(server: Connection, number: int) -> Iterator[Commands]:
    """All tables full again before each; that is not counted."""
    name = f"truncated_{number}"
    made = schema.create(server, name, schema.tables(number))
    with schema.session(made) as link:
        empty, fill = schema.truncate(number).encode(), schema.fill(number).encode()
        full = True

        def refill() -> None:
            nonlocal full
            if not full:
                link.execute(fill)
            link.execute(schema.touch(number).encode())
            full = False

        yield {_TRUNCATE: seconds(partial(link.execute, empty), refill)}
    Databases(server).drop(name)


@contextmanager
def _copying(server: Connection, script: str, touch: str) -> Iterator[Commands]:
    """Both strategies, each with a database of its own."""
    template = schema.create(server, "peer_template", script).database or ""
    with schema.session(connection_to(server, "postgres")) as link:

        def copying(name: str, strategy: str) -> Callable[[], float]:
            make = f"CREATE DATABASE {name} TEMPLATE {template}{strategy}".encode()
            link.execute(make)

            def replaced() -> None:
                link.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
                link.execute(make)

            return seconds(replaced, partial(schema.run, connection_to(server, name), touch))

        yield {_TEMPLATE: copying("peer_copy1", ""), _COPY: copying("peer_copy2", " STRATEGY file_copy")}
    Databases(server).drop("peer_copy1", "peer_copy2", template)


@contextmanager
def _made_anew(server: Connection, script: str) -> Iterator[Commands]:
    name = schema.create(server, "peer_anew", "SELECT 1").database or ""
    with schema.session(connection_to(server, "postgres")) as link:

        def replaced() -> None:
            link.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            link.execute(f"CREATE DATABASE {name}".encode())
            schema.run(connection_to(server, name), script)

        yield {_ANEW: seconds(replaced)}
    Databases(server).drop(name)


def _commands(project: EnvctlProject, server: Connection, options: Options) -> list[Row]:
    """For suites of other languages: a process for each reset, or a line for each to one that stays."""
    one = timed(project.argv("reset"), project.root, project.environ)
    argv = project.argv("reset", "--stdin")
    with schema.session(server) as app, running(argv, project.root, project.environ, talk=True) as child:
        touch = partial(app.execute, schema.touch(_NUMBER).encode())

        def whole() -> float:
            touch()
            return one()

        def line() -> None:
            if '"reset"' not in (answer := child.ask("postgres")):
                raise BenchmarkError(f"envctl reset --stdin says: {answer}")

        line()  # its start, and the connection that it keeps
        commands = {_COMMAND: whole, _STDIN: seconds(line, touch)}
        found = interleave(options.quick_runs, commands)
    what = f"reset, {_NUMBER} tables, 3 touched: "
    notes = {_COMMAND: "the whole process", _STDIN: "from the line to the answer, of one process for all"}
    return [replace(_row(found, name, what + name, ""), note=notes[name], budget=Budget()) for name in commands]


# -- curves ------------------------------------------------------------------------------------------------------------


def _by_tables(server: Connection, number: int, options: Options) -> list[Row]:
    with ExitStack() as held:
        made, resetter = held.enter_context(_with_baseline(server, f"tables_{number}", schema.tables(number)))
        app = held.enter_context(schema.session(made))
        touch = partial(app.execute, schema.touch(number).encode())
        ours = {"3": seconds(resetter.reset, touch), "none": seconds(resetter.reset)}
        found = dict(interleave(options.quick_runs, ours))
        # One after the other: so many tables emptied and filled take the server's cache, and every session's catalog.
        peer_runs = options.runs if number > _NUMBER else options.runs * 2
        found |= interleave(peer_runs, held.enter_context(_truncating(server, number)))
    return [
        _curve(found, "3", f"reset, {number:,} tables, 3 touched", _TRUNCATE),
        _curve(found, "none", f"reset, {number:,} tables, none touched", ""),
    ]


def _by_rows(server: Connection, options: Options) -> Iterator[Row]:
    """Rows that are updated, of one large table; by sessions that end, since a reset may take another way for many."""
    script = schema.large(_ROWS)
    update = "UPDATE large SET amount = amount + 1 WHERE id <= {}"
    with _with_baseline(server, "rows", script) as (made, resetter):
        for number in options.touched:
            ways: list[str] = []

            def reset(ways: list[str] = ways) -> None:
                ways.append(resetter.reset().strategy)

            with _copying(server, script, update.format(number)) as copies:
                ours = seconds(reset, partial(schema.run, made, update.format(number)))
                found = interleave(options.runs, {"rows": ours, _COPY: copies[_COPY]})
            row = _curve(found, "rows", f"reset, {number:,} of {_ROWS:,} rows touched", _COPY)
            yield replace(row, note=f"the way that was taken: {', '.join(sorted({*ways}))}")


@contextmanager
def _with_baseline(server: Connection, name: str, script: str) -> Iterator[tuple[Connection, Resetter]]:
    made = schema.create(server, name, script)
    baseline.take(made, "auto", schema.nobody)
    resetter = Resetter(made)
    try:
        resetter.reset()
        yield made, resetter
    finally:
        resetter.close()
    Databases(server).drop(*Databases(server).names(name))


# -- rows --------------------------------------------------------------------------------------------------------------


def _row(found: Mapping[str, Series], ours: str, what: str, peer: str) -> Row:
    budget = Budget(absolute=4.0, ratio=0.05 if peer == _TRUNCATE else None) if peer in ("", _TRUNCATE) else Budget()
    return replace(_curve(found, ours, what, peer), budget=budget, note=_NOTES.get(peer, "") if ours == _API else "")


def _curve(found: Mapping[str, Series], ours: str, what: str, peer: str) -> Row:
    return Row(_FAMILY, what, "ms", replace(found[ours], label="envctl"), found.get(peer)).in_ms()
