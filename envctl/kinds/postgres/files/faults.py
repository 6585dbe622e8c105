"""What is wrong in a file that is put into a database, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envctl.kinds.postgres.protocol.login import ServerError

_SHOWN = 200
NO_TRANSACTION = "25001"
"""The SQLSTATE of a statement that is refused in a transaction."""

_LABELS = {"D": "detail", "H": "hint", "q": "query", "W": "context"}
_BY_COMMAND = 'or let another program do it: seed: {command: "…"}'

# SQLSTATE and what the message holds → what helps. The first that fits counts.
_HELP: tuple[tuple[str, str, str], ...] = (
    (NO_TRANSACTION, "VACUUM", "leave it out: ANALYZE does what a seed needs"),
    (NO_TRANSACTION, "CONCURRENTLY", "leave out CONCURRENTLY: nobody else writes to the table during a seed"),
    (NO_TRANSACTION, "", "put it into a file of its own: a single statement is run without a transaction"),
    ("2D000", "", "a file is one transaction, which nothing in it may end"),
    ("55P04", "", "put what adds the value into a file before: a file is one transaction"),
    ("42704", "unrecognized configuration", "the file was made for a newer PostgreSQL: use that, or remove the line"),
    ("42704", "role ", "dump with pg_dump --no-owner --no-privileges, or create the role first"),
    ("22021", "", "save the file in UTF-8, or begin it with: SET client_encoding = 'LATIN1';"),
    ("0A000", "extension ", "use an image that has the extension"),
)


class Fault(Exception):
    """Why a file could not be put into a database.

    Attributes:
        cause: What is wrong.
        line: Where it is, from 1 on; 0 where it is nowhere in the file.
        fix: What to do about it, most likely first; none for what is always to be done.
        evidence: The statement, and the server's other words.
        rolled_back: Whether certainly nothing of the file stays.
    """

    def __init__(
        self, cause: str, line: int, fix: Sequence[str] = (), evidence: Sequence[str] = (), *, rolled_back: bool = True
    ) -> None:
        super().__init__(cause)
        self.cause, self.line, self.fix, self.evidence = cause, line, tuple(fix), tuple(evidence)
        self.rolled_back = rolled_back


def of_server(error: ServerError, line: int, shown: Sequence[str]) -> Fault:
    """The fault behind what the server said.

    Args:
        error: What it said.
        line: Where in the file.
        shown: The statement, or the line, as it is shown.
    """
    told = [
        f"{label}: {' '.join(error.fields[letter].split())[:1000]}"
        for letter, label in _LABELS.items()
        if error.fields.get(letter)
    ]
    help_ = [text for code, words, text in _HELP if error.code == code and words in error.text]
    fix = [help_[0], _BY_COMMAND] if help_ else []
    return Fault(f"PostgreSQL says: {error.text} ({error.code or 'no code'})", line, fix, [*shown, *told])


def shortened(statement: bytes) -> str:
    """A statement on one line, as long as people read it."""
    text = statement[: _SHOWN * 8].decode("utf-8", "replace")
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= _SHOWN and len(statement) <= _SHOWN * 8 else line[:_SHOWN] + " …"
