"""Text from elsewhere, made safe to show."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envctl.host.terminal import Redactor, escape


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain, ünïcode, 日本, tab\there", "plain, ünïcode, 日本, tab\there"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("progress\rOK", "progress\\rOK"),
        ("two\nlines", "two\\nlines"),
        ("C1 \x9b31m and \x85", "C1 \\x9b31m and \\x85"),
        ("\u202egnp.exe\u202c \u2066x\u2069", "\\u202egnp.exe\\u202c \\u2066x\\u2069"),
        ("zero\u200bwidth \ufeff", "zero\\u200bwidth \\ufeff"),
        ("tags \U000e0041", "tags \\U000e0041"),
        ("lone \udc80 surrogate", "lone \\udc80 surrogate"),
        ("nul \0 del \x7f", "nul \\x00 del \\x7f"),
        ("", ""),
    ],
)
def test_unsafe_characters_become_visible(text: str, safe: str) -> None:
    """Nothing that moves a cursor, changes a direction or hides gets through."""
    assert escape(text) == safe


@given(st.text(alphabet=st.characters(codec=None)))
def test_escaped_text_is_printable_and_stable(text: str) -> None:
    """Whatever comes in, what goes out can be encoded, has no control character, and escaping again changes nothing."""
    safe = escape(text)

    safe.encode()
    assert all(character == "\t" or ord(character) >= 0x20 for character in safe)
    assert not any(0x7F <= ord(character) <= 0x9F for character in safe)
    assert escape(safe) == safe


def test_a_long_line_is_cut_with_a_mark() -> None:
    """A line of megabytes costs no more than what is shown of it."""
    line = "x" * 1_000_000 + "\x1b"
    began = time.monotonic()

    safe = escape(line, limit=100)

    assert safe == "x" * 100 + "… (+999901 characters)"
    assert time.monotonic() - began < 0.1
    assert escape("x" * 100, limit=100) == "x" * 100


def test_lines_can_be_kept() -> None:
    """A whole log keeps its lines; the limit is each line's."""
    assert escape("a\r\nbbbbb\n\rc", limit=3, keep_newlines=True) == "a\nbbb… (+2 characters)\n\\rc"


SECRET = 'p@ss/w"ö+rd? 1'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote(SECRET),
        urllib.parse.quote_plus(SECRET),
        urllib.parse.quote(SECRET, safe="").replace("%40", "%40").lower(),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
    ],
)
def test_every_way_of_writing_a_secret_is_masked(written: str) -> None:
    """As it is, in a URL, in JSON."""
    assert Redactor([SECRET])(f"postgres://app:{written}@host") == "postgres://app:***@host"


@pytest.mark.parametrize("user", ["", "a", "ap", "app", "user"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_masked_wherever_the_secret_stands_in_it(user: str, encode: object) -> None:
    """An HTTP Authorization header does not give the password away, whatever the length of the user's name."""
    secret = "c0ffee00c0ffee00c0ffee00c0ffee00"
    assert callable(encode)
    header = encode(f"{user}:{secret}".encode()).decode()

    redacted = Redactor([secret])(header)

    # What is left is at most one group of four characters at each end.
    assert [len(part) <= bound for part, bound in zip(redacted.split("***"), (len(user) * 2 + 4, 4), strict=True)]
    assert len(redacted) <= len(header) - 36


def test_the_longer_secret_is_masked_whole() -> None:
    """A secret that begins with another one is not left with its tail showing."""
    assert Redactor(["secret", "secret-two"])("secret-two secret") == "*** ***"


def test_short_and_empty_secrets_are_left_alone() -> None:
    """Masking "a" everywhere would hide the text and show the secret."""
    assert Redactor(["", "a", "abc"])("abracadabra abc") == "abracadabra abc"
    assert Redactor([])("text") == "text"


def test_a_redactor_does_not_show_its_secrets() -> None:
    """Also not when it is printed itself."""
    assert "hunter22" not in repr(Redactor(["hunter22"]))
