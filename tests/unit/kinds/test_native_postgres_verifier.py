"""The text PostgreSQL stores of a password, and its place in a cluster's files."""

from __future__ import annotations

import pytest

from envctl.kinds.postgres.clusters import verifier

SALT = bytes(range(16))


def test_known_text() -> None:
    """Its parts and its length are those PostgreSQL writes; that it is let in is shown with a server."""
    text = verifier.of("pencil", SALT)

    assert text.startswith("SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$")
    assert len(text) == 133
    assert verifier.fits(text, "pencil")


def test_each_has_its_own_salt() -> None:
    """Equal passwords give different texts, which both fit."""
    first, second = verifier.of("x"), verifier.of("x")

    assert first != second
    assert verifier.fits(first, "x")
    assert verifier.fits(second, "x")


@pytest.mark.parametrize(
    "text", ["", "md5abc", verifier.of("other"), verifier.of("pencil")[:-1], "x" + verifier.of("p")]
)
def test_what_does_not_fit(text: str) -> None:
    """Other passwords, other forms and damage."""
    assert not verifier.fits(text, "pencil")


def page(text: str) -> bytes:
    return bytes(4000) + text.encode() + bytes(8192 - 4000 - len(text))


def test_replacing() -> None:
    """Only the text changes where pages carry no checksums."""
    old, new = verifier.of("old"), verifier.of("new")
    spot = verifier.find(page(old))

    assert spot == (4000, False)
    assert spot
    assert verifier.replaced(page(old), spot, new) == page(new)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8192),
        page(verifier.of("a")) + page(verifier.of("b")),  # two: which one is in force cannot be told
        page(verifier.of("a"))[:-1],
        b"\0" * 8 + b"\1\2" + page(verifier.of("a"))[10:],  # a checksum that does not fit
        bytes(8100) + verifier.of("a").encode() + bytes(16384 - 8100 - 133),  # across two pages
        page(verifier.of("a").replace("$4096:", "$9999:")),
    ],
)
def test_where_it_cannot_be_replaced(content: bytes) -> None:
    """Whatever is not exactly as expected is left to the server."""
    assert verifier.find(content) is None


def test_another_file_than_expected() -> None:
    """A cluster that does not fit its own description is not changed."""
    with pytest.raises(ValueError, match="not as it was"):
        verifier.replaced(bytes(8192), verifier.Spot(4000, False), verifier.of("x"))
