"""A CSV file with a header, copied into the table that its name tells.

Numbers of rows that were given explicitly are not given again: afterwards the sequences behind the columns go on after
the largest value in the table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import BinaryIO

from envctl.kinds.postgres.files import faults
from envctl.kinds.postgres.files.faults import Fault
from envctl.kinds.postgres.protocol.client import Client, identifier, literal
from envctl.kinds.postgres.protocol.login import ServerError

_PIECE = 64 * 1024
_LONGEST_HEADER = 1024 * 1024
_ORDER = re.compile(r"[0-9]+[_-]+")
_STAGED = '"envctl csv"'

# Older servers have no generated columns, and no catalogue that tells of them.
_COLUMNS = """
SELECT attname, coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '' FROM pg_attribute a
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
# Of identity columns, of serial ones, and of what else takes its default from a sequence; with what it holds now.
_SEQUENCES = """
SELECT DISTINCT quote_ident(attname), sequence.oid::regclass, seqincrement > 0
FROM pg_attribute
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
JOIN pg_depend ON (classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid AND refclassid = 'pg_class'::regclass)
    OR (classid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum AND deptype IN ('a', 'i'))
JOIN pg_class sequence ON relkind = 'S'
    AND sequence.oid = CASE WHEN classid = 'pg_attrdef'::regclass THEN refobjid ELSE objid END
JOIN pg_sequence ON seqrelid = sequence.oid
WHERE attrelid = %s::regclass AND attname = ANY (%s::text[]) AND atttypid IN (20, 21, 23, 1700)
"""


def run(client: Client, file: BinaryIO, name: str) -> None:
    """Copy a file into its table; all of it, or nothing.

    An empty field without quotes is NULL. Columns that the database generates itself are left out.

    Args:
        client: A session that does nothing else.
        file: The file, at its beginning.
        name: Its name without suffix: "users", "billing.users", "01_users".

    Raises:
        Fault: It could not be copied; the transaction ends with the session.
        Garbled, OSError: The session has ended, or the file cannot be read.
    """
    lines = _Lines(file)
    columns = lines.columns()
    try:
        client.execute(b"BEGIN")
        table = _table(client, name)
        _copy(client, table, columns, lines)
        client.execute(b"SET CONSTRAINTS ALL IMMEDIATE")  # a sequence that was moved stays so, whatever fails then
        _advance(client, table, columns)
        client.execute(b"COMMIT")
    except ServerError as error:
        context = re.match(r"COPY .*?, line ([0-9]+)", error.fields.get("W", ""))
        line = int(context[1]) if context else 1 if error.code.startswith("42") else 0
        raise faults.of_server(error, line, _help(error, columns)) from None


def _copy(client: Client, table: str, columns: Sequence[str], lines: _Lines) -> None:
    known = {str(name): generated == "t" for name, generated in client.rows(_COLUMNS, table)}
    missing = [name for name in columns if name not in known]
    if missing:
        near = get_close_matches(missing[0], known, 1)
        fix = f'did you mean "{near[0]}"?' if near else f"its columns are: {', '.join(known)}"
        separated = re.search("[;\t|]", missing[0])
        fixes = ["separate columns by commas"] if separated else [f"correct the header: {fix}"]
        raise Fault(f'table {table} has no column "{missing[0]}"', 1, fixes)
    generated = [name for name in columns if known[name]]
    names = ", ".join(map(identifier, columns))
    target = _STAGED if generated else table
    if generated:
        make = f"CREATE TEMPORARY TABLE {_STAGED} ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0"  # noqa: S608 - names are quoted
        client.execute(make.encode())
    into = f"COPY {target} ({names}) FROM STDIN WITH (FORMAT csv, HEADER true)"
    client.copy_in(into.encode(), lines.pieces(alone=len(columns) == 1))
    if generated:
        given = ", ".join(identifier(name) for name in columns if not known[name])
        move = f"INSERT INTO {table} ({given}) OVERRIDING SYSTEM VALUE SELECT {given} FROM {_STAGED}"  # noqa: S608 - names are quoted
        client.execute(move.encode())


def _advance(client: Client, table: str, columns: Sequence[str]) -> None:
    array = "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", name) + '"' for name in columns) + "}"
    for column, sequence, ascending in client.rows(_SEQUENCES, table, array):
        outermost, beyond = ("max", ">") if ascending == "t" else ("min", "<")
        name = str(sequence)
        found = f"SELECT {outermost}({column})::bigint AS value FROM {table}"  # noqa: S608 - names of the catalogue
        unused = f"value {beyond} last_value OR (value = last_value AND NOT is_called)"
        client.execute(f"SELECT setval({literal(name)}, value) FROM ({found}) AS f, {name} WHERE {unused}".encode())  # noqa: S608 - names are quoted


def _table(client: Client, name: str) -> str:
    """The table of a file's name, as it stands in a statement: as written, without its number, in lower case."""
    bare = _ORDER.sub("", name, count=1)
    for spelled in dict.fromkeys((name, bare, name.lower(), bare.lower())):
        path = ".".join(identifier(part) for part in spelled.split(".", 1))
        ((found,),) = client.rows("SELECT to_regclass(%s)", path)
        if found is not None:
            return path
    tables = client.rows("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'p') AND oid >= 16384")
    near = get_close_matches(bare.lower(), [str(table) for (table,) in tables], 1)
    hint = f', for example "{near[0]}.csv"' if near else ""
    raise Fault(
        f'there is no table "{bare}"',
        0,
        [
            f"name the file after its table{hint}; SCHEMA.TABLE.csv for one in another schema",
            "seed what makes it before",
        ],
    )


def _help(error: ServerError, columns: Sequence[str]) -> list[str]:
    return [f"columns: {', '.join(columns)}"] if error.code in {"22P04", "23502"} else []


class _Lines:
    """The text of the file; its first lines are looked at before they are copied."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begin = file.read(_PIECE).removeprefix(b"\xef\xbb\xbf")
        if self._begin.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Fault("it is encoded in UTF-16", 1, ["save it in UTF-8"])

    def columns(self) -> list[str]:
        """The names in the header. Raises Fault."""
        while (header := _header(self._begin)) is None and len(self._begin) < _LONGEST_HEADER:
            more = self._file.read(_PIECE)
            if not more:
                header = self._begin
                break
            self._begin += more
        try:
            text = (header or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("its header is not encoded in UTF-8", 1, ["save it in UTF-8"]) from None
        rows = list(csv.reader([text])) if text.strip() else []
        names = [name.strip() for row in rows for name in row]
        if not all(names) or not names:
            raise Fault("it has no header", 1, ["name the columns in its first line: id,name"])
        return names

    def pieces(self, *, alone: bool) -> Iterator[bytes]:
        """The whole of it, in pieces.

        Args:
            alone: Whether there is one column. Else an empty line at the end is no row, and is left out.
        """
        piece, ending = self._begin, b""
        while piece:
            whole = ending + piece
            ending = b"" if alone else whole[len(whole.rstrip(b"\r\n")) :]
            if kept := whole[: len(whole) - len(ending)]:
                yield kept
            piece = self._file.read(_PIECE)
        if ending:
            yield b"\r\n" if ending.startswith(b"\r\n") else b"\n"


def _header(data: bytes) -> bytes | None:
    """The first line; None where its end was not read yet, or is between quotes."""
    at = -1
    while (at := data.find(b"\n", at + 1)) >= 0:
        if data.count(b'"', 0, at) % 2 == 0:
            return data[:at].rstrip(b"\r")
    return None
