"""What all commands share: their help is their file's docstring, and the common options may follow their name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from envctl import __version__
from envctl.cli import output
from envctl.cli.settings import Settings

HELP_NAMES = ["-h", "--help"]
_NO_PID = 1 << 31


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on, for mypy only
    """A duration such as 500ms, 30s, 5m, 2h or 7d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The value in seconds; zero is none."""
        from envctl.plan.units import DURATION_FORM, duration_s

        if isinstance(value, float):
            return value
        try:
            seconds = duration_s(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} is no time at all; write {DURATION_FORM}", param, ctx)
        return seconds


class ProcessId(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on, for mypy only
    """The number of a process."""

    name = "process"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if not str(value).isdecimal() or not 0 < int(value) < _NO_PID:
            self.fail(f"{value!r} is no number of a process, such as `$$` in a shell", param, ctx)
        return int(value)


class Helpful(click.Command):
    """A command whose help is a result like any other: nobody reading it is no error."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """`--help`."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def _show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
    if value and not ctx.resilient_parsing:
        output.write(ctx.get_help() + "\n")
        ctx.exit()


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
    if value and not ctx.resilient_parsing:
        output.write(f"envctl {__version__}\n")
        ctx.exit()


class Command(Helpful):
    """A command that starts the log, where one is asked for, before it does anything.

    Attributes:
        fails_as: The exit code of envctl's own failures, usage errors among them; None for that of each error.
    """

    fails_as: int | None = None

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the command line."""
        settings = parent.find_object(Settings) if parent else None
        if settings is not None:
            settings.fails_as = self.fails_as
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        settings = ctx.find_object(Settings)
        if settings is not None and settings.logs:
            from envctl.host.log import configure

            configure("json" if settings.log_format == "json" else "console")
        return super().invoke(ctx)


def command(
    doc: str | None,
    *,
    selects: bool = True,
    formats: Sequence[str] = (),
    timeout: bool = False,
    stops: bool = False,
    passes_on: bool = False,
    fails_as: int | None = None,
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a command of a function that takes the `Settings`, then its own parameters, and returns the exit code.

    Args:
        doc: The file's docstring: one line, then text, then `Examples:` with one per line.
        selects: Whether it is about one environment: adds `-f`, `--branch`, `--name`, `--engine`.
        formats: What `--format` accepts, the default first.
        timeout: Whether it takes `--timeout`.
        stops: Whether our options end at the first argument; what follows belongs to another program.
        passes_on: The same, and options that are not ours belong to that program too.
        fails_as: The exit code of all that fails in envctl, where others are the program's.
    """
    summary, text, examples = parse_doc(doc or "")
    context: dict[str, Any] = {"help_option_names": HELP_NAMES, "allow_interspersed_args": not (stops or passes_on)}
    if passes_on:
        context |= {"help_option_names": ["--help"], "ignore_unknown_options": True}

    def decorate(function: Callable[..., int | None]) -> click.Command:
        made = click.command(
            function.__module__.rpartition(".")[2].replace("_", "-"),
            cls=Command,
            help=f"{summary}.\n\n{text}",
            short_help=summary,
            epilog=f"\b\nExamples:\n{examples}",
            context_settings=context,
        )(click.pass_obj(function))
        made.fails_as = fails_as
        own = {name for parameter in made.params for name in parameter.opts}
        made.params.extend(selection_options(own) if selects else ())
        made.params.extend([_option("--timeout", type=Duration(), help=_TIMEOUT)] if timeout else ())
        made.params.extend([_option("--format", type=click.Choice(formats), help=_FORMAT)] if formats else ())
        made.params.extend(() if passes_on else output_options(hidden=True))
        return made

    return decorate


def parse_doc(doc: str) -> tuple[str, str, str]:
    """The summary, the text and the examples of a command's docstring."""
    described, _, examples = doc.partition("\nExamples:\n")
    summary, _, text = described.strip().partition("\n")
    return summary.removesuffix("."), text.strip(), examples.rstrip()


_TIMEOUT = "Give up after this time: 500ms, 30s, 5m, 2h."
_FORMAT = "How the result, and an error, is printed."


def _store(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value is not None and value is not False and param.name:
        attribute = "timeout_s" if param.name == "timeout" else param.name
        setattr(ctx.ensure_object(Settings), attribute, value)


def _option(*names: str, **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_store, **attributes)


def selection_options(taken: Collection[str] = ()) -> list[click.Parameter]:
    """The options that say which environment is meant; a command's own short name goes first (`logs -f`)."""
    names = [name for name in ("-f", "--file") if name not in taken]
    engines = click.Choice(["auto", "compose", "embedded", "swarm"])
    return [
        _option(*names, type=click.Path(path_type=Path), help="Configuration file, instead of envctl.yaml."),
        _option("--branch", metavar="BRANCH", help="Another branch's environment."),
        _option("--name", metavar="NAME", help="A second environment beside the branch's."),
        _option("--engine", type=engines, help="Where services run."),
    ]


def output_options(*, hidden: bool = False) -> list[click.Parameter]:
    """The options that say how much is told, and how. `envctl --help` shows them; each command accepts them."""
    forms = click.Choice(["console", "json"])
    return [
        _option("-v", "--verbose", is_flag=True, hidden=hidden, help="Log each step to stderr."),
        _option("--log-format", type=forms, hidden=hidden, help="Log each step, in this form."),
        _option(
            "--no-color", is_flag=True, hidden=hidden, help="No colours; NO_COLOR in the environment does the same."
        ),
    ]


def root_options() -> list[click.Parameter]:
    """All common options, for in front of a command's name."""
    return [
        *selection_options(),
        _option("--timeout", type=Duration(), help=_TIMEOUT),
        _option("--format", metavar="FORMAT", help="How results and errors are printed; `json` everywhere."),
        *output_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ]
