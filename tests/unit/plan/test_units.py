"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envctl.plan.units import duration_s, format_duration, format_size, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604_800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0s", 0),
    ],
)
def test_durations_are_read_with_their_units(text: str, seconds: float) -> None:
    """Every unit of the reference is understood, alone and together."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "5M", "30m1h", "1m1m", "1h30", "1e3s", "\u0665m", "5m\n", "9" * 400 + "s"]
)
def test_what_is_no_duration_shows_the_form(text: str) -> None:
    """A wrong duration is refused with examples of right ones."""
    with pytest.raises(ValueError, match='"500ms", "30s"'):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 * 1024**2), ("1g", 1024**3), ("1.5G", 3 * 1024**3 // 2), ("64kb", 65536), ("6MiB", 6 * 1024**2)],
)
def test_sizes_are_binary_in_every_spelling(text: str, size: int) -> None:
    """Docker's units: 1k, 1kb and 1KiB are 1024 bytes."""
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "512", "m", "1x", "-1m", "1 m", "1m1k", "1m\n"])
def test_what_is_no_size_shows_the_form(text: str) -> None:
    """A size without unit is refused: nobody knows what it meant."""
    with pytest.raises(ValueError, match='"256m"'):
        size_bytes(text)


@given(st.integers(0, 10**12))
def test_a_formatted_duration_reads_back(milliseconds: int) -> None:
    """Formatting loses nothing down to the millisecond."""
    assert duration_s(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=0.0005)


@given(st.integers(1, 1023), st.sampled_from("bkmgt"))
def test_a_formatted_size_reads_back(number: int, unit: str) -> None:
    """What a unit divides is written exactly."""
    size = size_bytes(f"{number}{unit}")
    assert size_bytes(format_size(size)) == size


def test_formats_are_short() -> None:
    """Figures for people: no zero parts, no needless digits."""
    assert [format_duration(s) for s in (0, 0.0123, 1.5, 60, 5400, 90_061)] == [
        "0s", "12ms", "1.5s", "1m", "1h30m", "1d1h1m1s",
    ]  # fmt: skip
    assert [format_size(n) for n in (0, 1000, 1024, 1500, 512 * 1024**2)] == ["0b", "1000b", "1k", "1.5k", "512m"]
