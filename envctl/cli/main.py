"""The `envctl` program: one place that catches everything and turns it into a message and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NoReturn

import click

from envctl.cli import output
from envctl.cli.group import root
from envctl.cli.settings import Settings
from envctl.errors import EnvctlError, UsageError
from envctl.host.signals import interruptible

COMPLETION_VARIABLE = "_ENVCTL_COMPLETE"


def main() -> NoReturn:
    """Run the program."""
    # It lives for a fraction of a second, most of it spent making classes: looking for cycles among them is wasted.
    gc.set_threshold(100_000)
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads any more
            stream.flush()
    # To free object by object what the system takes back at once is all that Python would still do, in 10 to 20 ms.
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Raises nothing but what ends the interpreter."""
    output.prepare()
    if COMPLETION_VARIABLE in os.environ:
        return _complete(os.environ[COMPLETION_VARIABLE])
    settings = Settings()
    try:
        with interruptible():
            return _invoke(arguments, settings)
    except output.StdoutClosed:
        return 0
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        return _failed(_usage_error(error), arguments, settings)
    except EnvctlError as error:
        return _failed(error, arguments, settings)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug gets a file and a message, not a screen of text
        if settings.verbose:
            sys.excepthook(type(error), error, error.__traceback__)
        from envctl.cli.failure import bug

        return _failed(bug(error, arguments), arguments, settings)


def _invoke(arguments: Sequence[str], settings: Settings) -> int:
    group = root()
    try:
        # Not click's own main(): it ends the process on a closed pipe, and asks os.environ for completion first.
        with group.make_context("envctl", list(arguments), obj=settings) as context:
            code = group.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        output.write((error.ctx.get_help() if error.ctx else "") + "\n")
        return 2
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    return code if isinstance(code, int) else 0


def _failed(error: EnvctlError, arguments: Sequence[str], settings: Settings) -> int:
    from envctl.cli.failure import tell

    if settings.fails_as is not None and error.exit < settings.fails_as:  # above it are those of the program that runs
        error.exit_as = settings.fails_as
    as_json = settings.format == "json" or (settings.format is None and _asks_for_json(arguments))
    tell(error, as_json=as_json, no_color=settings.no_color)
    return error.exit


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether `--format json` is on a command line that may be too wrong to be parsed."""
    own = list(arguments)
    own = own[: own.index("--")] if "--" in own else own
    return "--format=json" in own or ("--format", "json") in pairwise(own)


def _usage_error(error: click.ClickException) -> UsageError:
    """Click's complaint in the shape of all errors."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "envctl"
    meant = getattr(error, "possibilities", None) or ()
    message = (error.message if meant else error.format_message()).rstrip(".")
    fixes = [f"did you mean {' or '.join(meant)}?"] if meant else []
    if context and isinstance(error, click.NoSuchOption) and not context.allow_interspersed_args:
        fixes.append(f"options of the program that is run stand behind it: {path} -- PROGRAM {error.option_name}")
    return UsageError(message[:1].lower() + message[1:], fix=[*fixes, f"{path} --help shows what is accepted"])


def _complete(instruction: str) -> int:
    """Answer a shell that completes a word. A failure must not spill over the user's command line."""
    try:
        from click.shell_completion import shell_complete

        return shell_complete(root(), {}, "envctl", COMPLETION_VARIABLE, instruction)
    except Exception:  # noqa: BLE001 - see above
        return 1
