"""What envctl writes into a job's log is read back as it was meant, and what others write there is obeyed by nobody."""

from __future__ import annotations

import re

import pytest
from github_runner import Command, commands
from hypothesis import example, given
from hypothesis import strategies as st

from envctl.plan.ci.commands import github_command, gitlab_section_end, gitlab_section_start, harmless

TEXT = st.text(st.characters(codec="utf-8"))
PIECES = st.sampled_from(
    ["::", "##[", "error", "stop-commands", " ", "\n", "\r", "\t", "]", ":", "#", "file=x", "\x0b", "a"]
)
FORGED = st.lists(PIECES, max_size=12).map("".join)


@given(st.one_of(TEXT, FORGED))
@example("::error::x")
@example("ok\r  ::stop-commands::x")
@example(":::error::x")
@example("a ##[add-mask]x ##[error]y")
def test_no_text_is_a_command(text: str) -> None:
    """Whatever a service writes, GitHub's runner obeys none of it; text without the two signs stays as it is."""
    safe = harmless(text)
    assert commands(safe) == []
    if "::" not in text and "##[" not in text:
        assert safe == text


def test_the_reader_of_these_tests_obeys_forged_commands() -> None:
    """Unchanged, the same lines are commands: the promise above is not kept by a reader that sees nothing."""
    log = "  ::error title=a%3Ab::x%0Ay\rtext ##[add-mask]secret\n::unknown::x"
    assert commands(log) == [Command("error", {"title": "a:b"}, "x\ny"), Command("add-mask", {}, "secret")]


@given(TEXT, st.text(min_size=1))
@example("a:b,c%3A\r\n::error::", "x=y,z:%2C")
def test_a_command_is_read_as_it_was_meant(data: str, title: str) -> None:
    """One line, one command, with exactly this data and this property."""
    written = github_command("error", data, title=title)
    assert re.split("\r\n|\r|\n", written)[1:] == [""]
    [command] = commands(written)
    assert command == Command("error", {"title": title}, data)


@pytest.mark.parametrize("header", ["envctl up", "log of postgres, 20 lines"])
def test_a_section_of_gitlab(header: str) -> None:
    """The form that GitLab's page "Custom collapsible sections" gives, folded from the start."""
    begin, end = gitlab_section_start("up_1", header, 1_700_000_000), gitlab_section_end("up_1", 1_700_000_009)
    assert begin == f"\x1b[0Ksection_start:1700000000:up_1[collapsed=true]\r\x1b[0K{header}\n"
    assert end == "\x1b[0Ksection_end:1700000009:up_1\r\x1b[0K\n"
