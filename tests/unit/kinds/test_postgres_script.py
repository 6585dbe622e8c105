"""A file of SQL cut into statements: whatever is put together comes apart again, however the file is read."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envctl.kinds.postgres.files import script
from envctl.kinds.postgres.files.faults import Fault
from envctl.kinds.postgres.files.script import Script

WORDS = [
    *(
        "SELECT",
        "a$b$c",
        "date'2020\\'",
        "é",
        "1.5e3",
        "$1",
        "(",
        ")",
        "-",
        "/",
        "::",
        "e",
        "E",
        "_e",
        ":=",
        "@>",
        "x%",
    ),
    *(
        "'a;b'",
        "'it''s;'",
        "''",
        "E'\\';'",
        "e'\\\\'",
        "E'a'\n'\\';'",
        "U&'\\0041;'",
        "B'0'",
        '"a;""b"',
        'U&"d;"',
        "N'\\'",
    ),
    *(
        "$$ ; ' $$",
        "$t$ $$ ; $x$ $t$",
        "$é$;$é$",
        "-- ; ' $$\n",
        "/* ; ' /* $$ */ ; */",
        "/**/",
        "--\n",
        "CASE",
        "END",
        "\r\n",
    ),
]
WHOLE = [
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN 1=1 THEN 'end;' END; SELECT 2; END",
    "create or replace procedure p(begin_at int)\n begin /**/ -- ;\n atomic /* end; */ insert into t values (1); end",
    "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $x$ BEGIN NULL; END; $x$",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO l VALUES (';)'); DELETE FROM m)",
]
STATEMENT = st.one_of(
    st.sampled_from(WHOLE),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(lambda words: "x " + " ".join(words)),
)


def statements(text: str, piece: int = 1024) -> list[tuple[int, str]]:
    """What a file is cut into, read in pieces of so many bytes."""
    before, script._PIECE = script._PIECE, piece
    try:
        return [(found.line, found.text.decode()) for found in Script(io.BytesIO(text.encode()))]
    finally:
        script._PIECE = before


@settings(max_examples=300, deadline=None)
@given(st.lists(STATEMENT, max_size=5), st.sampled_from(["", "\n", " ;; ", "\n-- c;\n", "/* ; */"]), st.integers(1, 40))
def test_what_is_put_together_comes_apart(parts: list[str], between: str, piece: int) -> None:
    """Each statement is found whole, at its line, in whatever pieces the file is read."""
    expected, text = [], ""
    for part in parts:
        text += between
        expected.append((text.count("\n") + 1, part.rstrip()))
        text += part + ";"
    assert statements(text + between) == expected
    assert statements(text + between, piece) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aE'\"$;-/*\\\n ()\0é", max_size=40), st.integers(1, 8))
def test_nonsense_comes_to_an_end(text: str, piece: int) -> None:
    """Any text is cut the same way in any pieces, or refused at the same line; nothing of it is lost."""

    def outcome(size: int) -> object:
        try:
            return statements(text, size)
        except Fault as fault:
            return fault.line

    assert outcome(1024) == outcome(piece)
    found = outcome(1024)
    if isinstance(found, list):
        assert all(part in text for _, part in found)


def test_data_of_a_copy_is_no_statement() -> None:
    r"""Everything up to the line \. is data, in any pieces; after it statements go on, at the right line."""
    text = "COPY t FROM stdin; -- c\n1;\n\\.x\n\n\\N\n\\.\r\nSELECT 1;\nCOPY u FROM stdin;\n\\."
    for piece in (1, 2, 5, 100):
        before, script._PIECE = script._PIECE, piece
        try:
            file = Script(io.BytesIO(text.encode()))
            found = [(one.line, b"".join(file.data()) if one.text[:4] == b"COPY" else one.text) for one in file]
        finally:
            script._PIECE = before
        assert found == [(1, b"1;\n\\.x\n\n\\N\n"), (7, b"SELECT 1"), (8, b"")]


@pytest.mark.parametrize(
    "line", ["\\restrict x", "\\set ON_ERROR_STOP on", "\\echo 'a;", "\\encoding UTF8", "\\timing"]
)
def test_what_psql_alone_understands_and_changes_nothing(line: str) -> None:
    """Such lines of dumps and scripts are passed over."""
    assert statements(f"{line}\nSELECT 1;\n{line}") == [(2, "SELECT 1")]


@pytest.mark.parametrize(
    "line", ["\\connect x", "\\i a.sql", "\\set x 1", "\\copy t from 'a'", "\\encoding LATIN1", "\\"]
)
def test_what_psql_alone_understands_and_counts(line: str) -> None:
    """It is refused, with a way to have psql do it."""
    with pytest.raises(Fault) as caught:
        statements(f"SELECT 1;\n{line}\n")
    assert (caught.value.line, "psql" in caught.value.fix[0]) == (2, True)
