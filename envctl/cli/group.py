"""`envctl` itself: its commands are the files of `envctl/cli/commands/`, imported only when called."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from envctl.cli.command import HELP_NAMES, Helpful, parse_doc, root_options
from envctl.cli.words import did_you_mean
from envctl.errors import UsageError

_FOLDER = Path(__file__).with_name("commands")


class CommandFolder(Helpful, click.Group):
    """A group whose commands are the files of a folder. There is no list to edit."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, sorted."""
        names = (file.stem for file in _FOLDER.glob("*.py") if file.stem != "__init__")
        return sorted(name.replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its file, or None where there is none."""
        if "_" in cmd_name or cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"envctl.cli.commands.{cmd_name.replace('-', '_')}")
        made: click.Command = module.command_line
        return made

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with. Raises UsageError, with what was probably meant."""
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            fix = [*did_you_mean(name, self.list_commands(ctx)), "envctl --help lists the commands"]
            raise UsageError(f'no such command "{name}"', fix=fix)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `envctl --help`: each file's first line, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(name)) for name in self.list_commands(ctx)])


def summary(name: str) -> str:
    """What the command does, in one line: the first line of its file, which is a docstring's."""
    with (_FOLDER / f"{name.replace('-', '_')}.py").open(encoding="utf-8") as file:
        return parse_doc(file.readline().strip().strip('"'))[0]


def root() -> click.Group:
    """The whole command line."""
    return CommandFolder(
        name="envctl",
        help="The services a repository's tests need: isolated, truly ready, gone without a trace.",
        epilog="""\b
Examples:
  envctl up
  eval "$(envctl env --format shell)"
  envctl down

`envctl COMMAND --help` tells more. Options may stand before or after the command.""",
        context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
        params=root_options(),
        no_args_is_help=True,
        subcommand_metavar="COMMAND [ARGS]…",
    )
