"""The help texts and the pages made from them."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from envctl.cli.command import parse_doc
from envctl.cli.group import CommandFolder, root, summary
from envctl.cli.reference import pages
from envctl.cli.settings import Settings

REPOSITORY = Path(__file__).parents[3]
GROUP = root()
NAMES = GROUP.list_commands(click.Context(GROUP))


def _examples(name: str) -> list[str]:
    file = REPOSITORY / "envctl" / "cli" / "commands" / f"{name.replace('-', '_')}.py"
    doc = ast.get_docstring(ast.parse(file.read_text("utf-8")), clean=False)
    return [line.strip() for line in parse_doc(doc or "")[2].strip().splitlines()]


@pytest.mark.parametrize("page", ["commands.md", "errors.md"])
def test_the_pages_are_current(page: str) -> None:
    """What docs/ says is what the program says. To renew: python -m envctl.cli.reference docs."""
    assert (REPOSITORY / "docs" / page).read_text("utf-8") == pages()[page]


@pytest.mark.parametrize("name", NAMES)
def test_the_list_of_commands_says_what_each_command_says(name: str) -> None:
    """`envctl --help` reads the files' first lines; they are the short help, and fit one line of a terminal."""
    made = GROUP.get_command(click.Context(GROUP), name)
    assert made is not None
    assert made.name == name
    assert made.short_help == summary(name)
    assert 10 < len(summary(name)) <= 62


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_examples_that_work(name: str) -> None:
    """Two or three, each accepted by a shell and by the command's own parser."""
    examples = _examples(name)
    assert 2 <= len(examples) <= 3
    for example in examples:
        words = _call_of_envctl(example)
        with GROUP.make_context("envctl", words, obj=Settings()) as context:
            found, made, rest = GROUP.resolve_command(context, context._protected_args + context.args)
            assert found == name
            assert made is not None
            made.make_context(name, rest, parent=context)


def _call_of_envctl(example: str) -> list[str]:
    inner = re.search(r'"\$\((envctl [^)]*)\)"', example)
    text = inner[1] if inner else re.split(r" (?:\||>|\|\|) ?", example)[0]
    words = shlex.split(text.replace("$$", "4121"))
    return words[words.index("envctl") + 1 :]


def test_a_new_file_is_a_new_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no list to edit; names that are not files are no commands."""
    from envctl.cli import group

    for file in ("one_two.py", "__init__.py", "notes.txt"):
        (tmp_path / file).write_text('"""Do it."""\n')
    monkeypatch.setattr(group, "_FOLDER", tmp_path)
    folder = CommandFolder(name="x")
    assert folder.list_commands(click.Context(folder)) == ["one-two"]
    assert folder.get_command(click.Context(folder), "../secret") is None
    assert summary("one-two") == "Do it"
