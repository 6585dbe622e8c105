"""A file of SQL, run in one transaction.

Many statements go to the server at once. An error has its position in what was sent, or follows so many statements
that were done; either way its line in the file is known.

BEGIN, COMMIT and ROLLBACK of the file become savepoints of that transaction, so what the file rolls back is rolled
back, and all else stays or goes together. Only the single statement of a file may be one that allows no transaction, as
CREATE DATABASE: it is run alone then.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import BinaryIO

from envctl.kinds.postgres.files import faults
from envctl.kinds.postgres.files.faults import Fault
from envctl.kinds.postgres.files.script import Script, Statement
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError

_MOST_BYTES, _MOST_STATEMENTS = 128 * 1024, 2000
_BETWEEN = b";\n"
_IN_TRANSACTION = "T"
_ENCODING_CODES = frozenset({"22021", "22P05"})
_SAVEPOINT = b'"envctl of the file"'

_FIRST_WORD = re.compile(rb"[A-Za-z]+")
_COMMENTS = re.compile(rb"/\*.*?\*/|--[^\n]*", re.DOTALL)
_COPY_IN = re.compile(rb"\bfrom\s+stdin\b", re.IGNORECASE)
_QUOTED = re.compile(rb"'[^']*'|\"[^\"]*\"")
_LEXING = re.compile(rb"client_encoding|standard_conforming_strings", re.IGNORECASE)
_IN_BLOCK = re.compile(r"function inline_code_block line ([0-9]+) at")
_QUOTE = re.compile(rb"\$\w*\$|'")
_BEGINS = frozenset({b"begin", b"start"})
_ENDS = frozenset({b"commit", b"end"})
_TAKES_BACK = frozenset({b"rollback", b"abort"})
_SPECIAL = _BEGINS | _ENDS | _TAKES_BACK | {b"prepare", b"copy", b"set", b"select"}


def run(client: Client, file: BinaryIO) -> None:
    """Run a file of SQL; all of it, or nothing.

    Args:
        client: A session that does nothing else.
        file: The file, at its beginning.

    Raises:
        Fault: It could not be run; the transaction ends with the session.
        Garbled, OSError: The session has ended, or the file cannot be read.
    """
    _Run(client, Script(file)).run()


class _Run:
    def __init__(self, client: Client, script: Script) -> None:
        self._client, self._script = client, script
        self._waiting: list[Statement] = []
        self._bytes = 0
        self._begun = False
        self._open_at = 0  # the line of a BEGIN of the file that has not ended yet

    def run(self) -> None:
        for statement in self._script:
            self._take(statement)
            if self._bytes >= _MOST_BYTES or len(self._waiting) >= _MOST_STATEMENTS:
                self._send()
        if self._open_at:
            cause = "the transaction that begins here does not end"
            raise Fault(cause, self._open_at, ["put COMMIT at the file's end, or remove BEGIN: a file is one anyway"])
        if len(self._waiting) == 1 and not self._begun and self._allows_no_transaction():
            return
        if self._waiting or self._begun:
            self._send()
            self._commit()

    def _take(self, statement: Statement) -> None:
        match = _FIRST_WORD.match(statement.text)
        word = match[0].lower() if match else b""
        if word not in _SPECIAL:
            self._add(statement)
            return
        words = _COMMENTS.sub(b" ", statement.text[:400]).lower().split()
        if word == b"copy" and _COPY_IN.search(_QUOTED.sub(b"", _COMMENTS.sub(b" ", statement.text))):
            self._copy(statement)
        elif word in _BEGINS | _ENDS | _TAKES_BACK or words[:2] == [b"prepare", b"transaction"]:
            self._control(statement, word, words)
        else:
            self._add(statement)
            if word in {b"set", b"select"} and _LEXING.search(statement.text[:400]):
                self._send()  # it decides how the server reads what comes after

    def _add(self, statement: Statement) -> None:
        self._waiting.append(statement)
        self._bytes += len(statement.text)

    def _control(self, statement: Statement, word: bytes, words: list[bytes]) -> None:
        """A statement of the file that begins or ends a transaction."""
        if b"prepared" in words or word == b"prepare":
            raise Fault(
                "a transaction that is prepared outlives the file",
                statement.line,
                ["leave it out: a file is one transaction"],
                [faults.shortened(statement.text)],
            )
        if word in _TAKES_BACK and b"to" in words:
            self._add(statement)
            return
        again = words[-1:] == [b"chain"] and words[-2:-1] != [b"no"]
        if self._open_at and word in _TAKES_BACK:
            self._add(Statement(b"ROLLBACK TO SAVEPOINT " + _SAVEPOINT, statement.line))
        if self._open_at and word not in _BEGINS:
            self._add(Statement(b"RELEASE SAVEPOINT " + _SAVEPOINT, statement.line))
            self._open_at = 0
        if not self._open_at and (word in _BEGINS or again):
            self._add(Statement(b"SAVEPOINT " + _SAVEPOINT, statement.line))
            self._open_at = statement.line

    def _copy(self, statement: Statement) -> None:
        self._send()
        self._ensure_begun()
        line = self._script.line
        try:
            self._client.copy_in(statement.text, self._script.data())
        except ServerError as error:
            inner = re.match(r"COPY .*, line ([0-9]+)", error.fields.get("W", ""))
            at = line + int(inner[1]) if inner else _line_of(statement, error)
            raise faults.of_server(error, at, [faults.shortened(statement.text)]) from None

    def _send(self) -> None:
        if self._waiting:
            self._ensure_begun()
            if self._execute() != _IN_TRANSACTION:
                cause = "a statement between here and the line before has ended the transaction"
                raise Fault(cause, self._script.line, rolled_back=False)

    def _ensure_begun(self) -> None:
        if not self._begun:
            self._begun = True
            self._client.execute(b"BEGIN")

    def _execute(self) -> str:
        """Run what waits; where the session stands afterwards."""
        sent, self._waiting, self._bytes = self._waiting, [], 0
        query = _BETWEEN.join(statement.text for statement in sent)
        try:
            return self._client.execute(query)
        except ServerError as error:
            raise _fault(error, query, sent) from None

    def _allows_no_transaction(self) -> bool:
        """Whether the only statement of the file is one that must stand alone; then it has been run alone."""
        (statement,) = self._waiting
        self._ensure_begun()
        try:
            self._client.execute(statement.text)
        except ServerError as error:
            if error.code != faults.NO_TRANSACTION:
                raise _fault(error, statement.text, [statement]) from None
        else:
            self._waiting = []
            return False
        self._client.execute(b"ROLLBACK")
        try:
            self._client.execute(statement.text)
        except ServerError as error:
            fault = _fault(error, statement.text, [statement])
            fault.rolled_back = False  # an index that is invalid, half of a VACUUM
            raise fault from None
        return True

    def _commit(self) -> None:
        try:
            self._client.execute(b"COMMIT")
        except ServerError as error:
            raise faults.of_server(error, self._script.line, ["COMMIT at the end of the file"]) from None


def _fault(error: ServerError, query: bytes, sent: list[Statement]) -> Fault:
    """Where in the file the error is that a query of several statements has brought."""
    offset = _offset(error, query)
    if offset is None:
        statement = sent[min(error.done, len(sent) - 1)]
        return _within(error, statement, _lines_down_in_block(error, statement))
    ends = list(accumulate(len(statement.text) + len(_BETWEEN) for statement in sent))
    index = min(bisect_right(ends, offset), len(sent) - 1)
    begin = ends[index - 1] if index else 0
    return _within(error, sent[index], sent[index].text.count(b"\n", 0, offset - begin))


def _within(error: ServerError, statement: Statement, below: int) -> Fault:
    """The fault so many lines below the statement's first."""
    shown = [faults.shortened(statement.text)]
    if below:
        line = statement.text.split(b"\n")[below]
        shown.append(f"line {statement.line + below}: {faults.shortened(line)}")
    return faults.of_server(error, statement.line + below, shown)


def _lines_down_in_block(error: ServerError, statement: Statement) -> int:
    """How many lines below its first line a DO block has failed; 0 for any other statement."""
    outermost = error.fields.get("W", "").rpartition("\n")[2]
    number, quote = _IN_BLOCK.search(outermost), _QUOTE.search(statement.text)
    if number is None or quote is None:
        return 0
    below = statement.text.count(b"\n", 0, quote.end()) + int(number[1]) - 1
    return below if below <= statement.text.count(b"\n") else 0


def _offset(error: ServerError, query: bytes) -> int | None:
    """How many bytes of the query stand before the error; None where that is not known."""
    position = error.fields.get("P", "")
    if position.isdecimal():
        return len(query.decode("utf-8", "replace")[: int(position) - 1].encode("utf-8", "replace"))
    if error.code in _ENCODING_CODES and not error.done:
        try:
            query.decode("utf-8")
        except UnicodeDecodeError as wrong:
            return wrong.start
    return None


def _line_of(statement: Statement, error: ServerError) -> int:
    offset = _offset(error, statement.text)
    return statement.line + (statement.text.count(b"\n", 0, offset) if offset else 0)
