r"""A file of SQL as the statements it is made of, as psql would find them, read piece by piece.

What stands between quotes, dollars and comments is no end of a statement, nor is a semicolon in the body of an SQL
function (BEGIN ATOMIC) or between the parentheses of a rule. Data after `COPY … FROM stdin;` is no statement at all.
Of psql's own commands those that change nothing are left out (`\restrict` of pg_dump), the others refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from envctl.kinds.postgres.files.faults import Fault

_PIECE = 1024 * 1024
_COPY_PIECE = 64 * 1024

_NEXT_LINE = rb"[ \t\r\f\v]*+(?:--[^\n]*+)?\n\s*+(?:--[^\n]*+\n\s*+)*+"  # a string may go on there
_ESCAPED = rb"'(?:[^'\\]++|\\.|'')*+'"


def _run(string: bytes) -> re.Pattern[bytes]:
    """All of a statement up to a character that needs a closer look; it never ends within a word or a string."""
    parts = [
        rb"[^'\"$;/\\A-Za-z_\x80-\xff-]++",
        rb"[eE]" + _ESCAPED + rb"(?:" + _NEXT_LINE + _ESCAPED + rb")*+(?!" + _NEXT_LINE + rb"')",
        rb"(?![eE]')[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+",
        string,
        rb'"[^"]*+"',
        rb"--[^\n]*+",
        rb"-(?!-)",
        rb"/(?!\*)",
        rb"\$(?![A-Za-z_\x80-\xff$])",
    ]
    return re.compile(rb"(?:" + b"|".join(parts) + rb")*+", re.DOTALL)


_RUN, _RUN_WITH_BACKSLASHES = _run(rb"'[^']*+'"), _run(_ESCAPED)
_BLANK = re.compile(rb"(?:[\s;]++|--[^\n]*+(?:\n|\Z))*+")
_NESTED = re.compile(rb"/\*|\*/")
_DOLLAR = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$")
_DOLLAR_WORD = re.compile(rb"\$[A-Za-z0-9_\x80-\xff]*+")
_REST_OF_LINE = re.compile(rb"[ \t\r\f]*+(?:--[^\n]*+)?\n")
_DATA_END = re.compile(rb"^\\\.\r?\n", re.MULTILINE)

_WITH_BODY = re.compile(rb"create\s+(?:or\s+replace\s+)?(function|procedure|rule)\b", re.IGNORECASE)
_WORDS = re.compile(
    rb"[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|[()]|[A-Za-z_\x80-\xff][\w$\x80-\xff]*",
    re.DOTALL,
)
_BACKSLASHES = re.compile(
    rb"set\s+(?:(?:session|local)\s+)?standard_conforming_strings\s*(?:=|\sto\s)\s*'?(\w+)", re.IGNORECASE
)

_HARMLESS = frozenset({"restrict", "unrestrict", "echo", "qecho", "warn", "timing", "pset", "x", "a", "t", "h", "?"})
_HARMLESS_SETTINGS = frozenset({"on_error_stop", "on_error_rollback", "quiet", "echo", "verbosity", "fetch_count"})
_UTF8 = frozenset({"utf8", "utf-8", "unicode"})
_FOREIGN = {
    b"\xff\xfe": "is encoded in UTF-16",
    b"\xfe\xff": "is encoded in UTF-16",
    b"PGDMP": "is a dump in pg_dump's custom format",
    b"\x1f\x8b": "is compressed",
}
_INTO_SQL = "make it plain SQL in UTF-8: pg_dump --format=plain, gunzip, iconv"


class Statement(NamedTuple):
    """One statement.

    Attributes:
        text: What the server gets, from its first word on, without the semicolon.
        line: The line of its first word.
    """

    text: bytes
    line: int


class Script:
    """The statements of a file, in order, each once.

    Args:
        file: It, at its beginning.

    Attributes:
        line: The line that was reached.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._data, self._at, self._ended = b"", 0, False
        self._run = _RUN
        self.line = 1
        self._begin()

    def __iter__(self) -> Iterator[Statement]:
        """The statements; after a COPY from standard input, `data` must be read before the next. Raises Fault."""
        while self._skip_blank():
            if self._data[self._at] == 0x5C:
                self._skip_command()
                continue
            end = self._end()
            text = self._data[self._at : end].rstrip()
            if b"\0" in text:
                line = self.line + text.count(b"\n", 0, text.index(b"\0"))
                raise Fault("it holds a zero byte, which no text may hold", line, [_INTO_SQL])
            statement = Statement(text, self.line)
            self._move(min(end + 1, len(self._data)))
            if setting := _BACKSLASHES.match(text):
                self._run = _RUN_WITH_BACKSLASHES if setting[1].lower() in {b"off", b"false", b"no"} else _RUN
            yield statement

    def data(self) -> Iterator[bytes]:
        r"""The lines between the COPY that was given last and `\.`, in pieces. Raises Fault."""
        began = self.line
        self._skip_rest_of_line()
        while True:
            found = _DATA_END.search(self._data, self._at)
            end = found.start() if found else self._data.rfind(b"\n", self._at) + 1
            if end > self._at:
                for start in range(self._at, end, _COPY_PIECE):
                    yield self._data[start : min(start + _COPY_PIECE, end)]
                self._move(end)
            if found:
                self._move(found.end())
                return
            if self._ended:
                if self._data[self._at :] == b"\\.":
                    self._move(len(self._data))
                    return
                message = r"the data of the COPY that begins here has no end: there is no line \. after it"
                raise Fault(message, began, ["the file was cut off: make it again"])
            self._more()

    # -- finding the end -----------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """Where the statement ends that begins here: at its semicolon, or at the end of the file."""
        at = self._at
        while True:
            found = self._step(at)
            if found is None:
                if self._ended:
                    return len(self._data)
                self._more()
                at = self._at
            elif found < 0:
                return -found
            else:
                at = found

    def _step(self, at: int) -> int | None:
        """Where to go on, or minus the end of the statement, or None where more of the file has to be seen."""
        data = self._data
        match = self._run.match(data, at)
        at = match.end() if match else at
        sort = data[at : at + 1]
        if sort == b";":
            return -at if self._is_whole(at) else at + 1
        if sort == b"/":
            return _comment_end(data, at)
        if sort == b"$":
            return _dollar_end(data, at)
        if sort == b"\\":
            line = self.line + data.count(b"\n", self._at, at)
            word = data[at : at + 40].split(None, 1)[0].decode("utf-8", "replace")
            raise Fault(f"psql's {word} in a statement cannot be carried out here", line, [_BY_PSQL])
        return None  # a quote that does not close, or the end of what was read

    def _is_whole(self, end: int) -> bool:
        """Whether a semicolon ends the statement, and not only one in the body of what it creates."""
        created = _WITH_BODY.match(self._data, self._at, end)
        if created is None:
            return True
        depth, before = 0, b""
        for match in _WORDS.finditer(self._data, self._at, end):
            word = match[0].lower()
            if word.startswith((b"--", b"/*")):
                continue
            if created[1].lower() == b"rule":
                depth += {b"(": 1, b")": -1}.get(word, 0)
            elif (word == b"atomic" and before == b"begin") or (word == b"case" and depth):
                depth += 1
            elif word == b"end" and depth:
                depth -= 1
            before = word
        return depth <= 0

    # -- what is no statement ------------------------------------------------------------------------------------------

    def _skip_blank(self) -> bool:
        """Go to the next statement; False where there is none."""
        while True:
            match = _BLANK.match(self._data, self._at)
            at = match.end() if match else self._at
            if len(self._data) - at < 2 and not self._ended:
                self._more()
            elif self._data[at : at + 2] == b"/*" and (end := _comment_end(self._data, at)):
                self._move(end)
            elif self._data[at : at + 2] == b"/*" and not self._ended:
                self._more()
            else:
                self._move(at)
                return at < len(self._data)

    def _skip_command(self) -> None:
        """Pass over a line for psql that changes nothing."""
        while (end := self._data.find(b"\n", self._at)) < 0 and not self._ended:
            self._more()
        end = len(self._data) if end < 0 else end
        words = self._data[self._at + 1 : end].decode("utf-8", "replace").split()
        name, first = words[0] if words else "", words[1].lower() if len(words) > 1 else ""
        harmless = name in _HARMLESS or (name == "set" and first in _HARMLESS_SETTINGS)
        if not harmless and not (name == "encoding" and first in _UTF8):
            raise Fault(f"psql's \\{name} cannot be carried out here", self.line, [_BY_PSQL])
        self._move(end)

    def _skip_rest_of_line(self) -> None:
        while b"\n" not in self._data[self._at :] and not self._ended:
            self._more()
        match = _REST_OF_LINE.match(self._data, self._at)
        if match:
            self._move(match.end())
        elif self._data[self._at :].strip():
            raise Fault("something follows COPY … FROM stdin on its line", self.line, ["begin a new line there"])

    # -- reading -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._more()
        for mark, what in _FOREIGN.items():
            if self._data.startswith(mark):
                raise Fault(f"it {what}", 1, [_INTO_SQL])
        self._at = 3 if self._data.startswith(b"\xef\xbb\xbf") else 0

    def _more(self) -> None:
        """Read on, at least as much as is not done yet, so that a long statement is not looked at too often."""
        rest = self._data[self._at :]
        piece = self._file.read(max(_PIECE, len(rest)))
        self._data, self._at, self._ended = rest + piece, 0, not piece

    def _move(self, to: int) -> None:
        self.line += self._data.count(b"\n", self._at, to)
        self._at = to


_BY_PSQL = 'let psql do it: seed: {command: "psql -v ON_ERROR_STOP=1 -f FILE"}'


def _comment_end(data: bytes, at: int) -> int | None:
    depth = 0
    for match in _NESTED.finditer(data, at):
        depth += 1 if match[0] == b"/*" else -1
        if depth == 0:
            return match.end()
    return None


def _dollar_end(data: bytes, at: int) -> int | None:
    tag = _DOLLAR.match(data, at)
    if tag is None:
        word = _DOLLAR_WORD.match(data, at)
        return None if word is None or word.end() == len(data) else word.end()
    end = data.find(tag[0], tag.end())
    return None if end < 0 else end + len(tag[0])
