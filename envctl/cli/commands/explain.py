"""Explain an error code; without one, list them all.

Examples:
  envctl explain SERVICE_EXITED
  envctl explain
"""

from __future__ import annotations

import sys

import click

from envctl.cli import output
from envctl.cli.cells import table
from envctl.cli.command import command
from envctl.cli.failure import described
from envctl.cli.settings import Settings
from envctl.cli.words import did_you_mean
from envctl.errors import CodeNotFound, EnvctlError, leaves

_FORMATS = ("text", "json")


def _codes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    return [kind.code for kind in leaves() if kind.code.startswith(incomplete.upper())]


@command(__doc__, selects=False, formats=_FORMATS)
@click.argument("code", required=False, shell_complete=_codes)
def command_line(settings: Settings, code: str | None) -> None:
    """Say it."""
    form = settings.choose_format(_FORMATS)
    known = {kind.code: kind for kind in leaves()}
    if code is None:
        _list(known, form)
        return
    kind = known.get(code.strip().upper().replace("-", "_").strip("[]"))
    if kind is None:
        fix = [*did_you_mean(code.upper(), list(known)), "envctl explain lists all codes"]
        raise CodeNotFound(f'no error code "{code}"', fix=fix, subject={"code": code})
    if form == "json":
        output.write_json(_as_dict(kind))
    else:
        output.write(_text(kind))


def _list(known: dict[str, type[EnvctlError]], form: str) -> None:
    if form == "json":
        output.write_json({"codes": [_as_dict(kind) for kind in known.values()]})
        return
    rows = [(code, exit_text(kind), described(kind)[0].partition(". ")[0]) for code, kind in known.items()]
    output.write(table(("CODE", "EXIT", "MEANS"), rows, output.columns(sys.stdout)))


def exit_text(kind: type[EnvctlError]) -> str:
    """The exit code, as a text: that of an interruption depends on the signal."""
    return "128+n" if kind.code == "INTERRUPTED" else str(kind.exit_code)


def _as_dict(kind: type[EnvctlError]) -> dict[str, object]:
    situation, fix = described(kind)
    return {"code": kind.code, "exit": kind.exit_code, "means": situation, "fix": fix, "retryable": kind.retryable}


def _text(kind: type[EnvctlError]) -> str:
    from textwrap import fill

    situation, fix = described(kind)
    width = min(output.columns(sys.stdout) or 100, 100)
    again = "the same command may succeed later" if kind.retryable else ""
    lines = [f"{kind.code}  (exit code {exit_text(kind)})", "", fill(situation, width), ""]
    lines += [
        fill(f"  {label:<5}  {text}", width, subsequent_indent=" " * 9)
        for label, text in (("fix", fix), ("retry", again))
        if text
    ]
    return "\n".join(lines) + "\n"
