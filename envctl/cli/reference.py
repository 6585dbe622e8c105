"""Writes docs/commands.md and docs/errors.md from the commands and the error tree.

`python -m envctl.cli.reference docs` writes them; a test checks that they are current.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from envctl.cli.command import HELP_NAMES, parse_doc
from envctl.cli.commands.explain import exit_text
from envctl.cli.failure import described
from envctl.cli.group import root, summary
from envctl.errors import leaves

_MADE = "<!-- Made by `python -m envctl.cli.reference docs`; change the commands' and errors' docstrings instead. -->"


def commands_page() -> str:
    """Every command: usage, text, options, examples."""
    group = root()
    context = click.Context(group, info_name="envctl", help_option_names=HELP_NAMES)
    names = group.list_commands(context)
    lines = [_MADE, "", "# Commands", "", "Results go to stdout; progress, logs and errors to stderr.", ""]
    lines += ["| command | does |", "|---|---|"]
    lines += [f"| [`envctl {name}`](#envctl-{name}) | {summary(name)} |" for name in names]
    lines += [
        "",
        "## Common options",
        "",
        "They stand before or after the command's name, where they mean something.",
        "",
    ]
    lines += _options(group, context)
    for name in names:
        made = group.get_command(context, name)
        if made is not None:
            lines += ["", *_command(made, click.Context(made, info_name=name, parent=context, **made.context_settings))]
    return "\n".join(lines) + "\n"


def _command(made: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([context.command_path, *made.collect_usage_pieces(context)])
    _, _, examples = parse_doc(sys.modules[_module(made)].__doc__ or "")
    yield from (f"## {context.command_path}", "", *str(made.help).strip().split("\n"), "")
    yield from ("```", usage, "```", "")
    yield from _options(made, context)
    yield from ("", "```sh", *(line.strip() for line in examples.strip().split("\n")), "```")


def _module(made: click.Command) -> str:
    return f"envctl.cli.commands.{str(made.name).replace('-', '_')}"


def _options(made: click.Command, context: click.Context) -> list[str]:
    options = (parameter for parameter in made.get_params(context) if isinstance(parameter, click.Option))
    records = [option.get_help_record(context) for option in options]
    rows = [f"| `{_cell(record[0])}` | {_cell(record[1])} |" for record in records if record]
    return ["| option | |", "|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def errors_page() -> str:
    """Every error code: exit code, situation, fix."""
    lines = [_MADE, "", "# Errors", "", "`envctl explain CODE` prints the same.", ""]
    lines += ["| exit code | error codes |", "|---|---|"]
    by_exit: dict[str, list[str]] = {}
    for kind in sorted(leaves(), key=lambda kind: kind.exit_code):
        by_exit.setdefault(exit_text(kind), []).append(f"[{kind.code}](#{kind.code.lower()})")
    lines += [f"| {code} | {', '.join(names)} |" for code, names in by_exit.items()]
    for kind in leaves():
        situation, fix = described(kind)
        again = ["", "The same command may succeed later."] if kind.retryable else []
        lines += ["", f"## {kind.code}", "", f"Exit code {exit_text(kind)}. {situation}", *again, "", f"**Fix:** {fix}"]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name → content."""
    return {"commands.md": commands_page(), "errors.md": errors_page()}


if __name__ == "__main__":
    for file_name, text in pages().items():
        Path(sys.argv[1], file_name).write_text(text, encoding="utf-8")
