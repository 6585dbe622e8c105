"""How an error is told: what failed, the cause, the evidence, the fix, the state of things; or the same as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from envctl.cli import output
from envctl.errors import Bug, EnvctlError
from envctl.host.log import redact
from envctl.host.terminal import escape

_LABEL = 9  # "  cause  "


def tell(error: EnvctlError, *, as_json: bool, no_color: bool) -> None:
    """Print `error` to stderr, without secrets and without control characters."""
    output.say(json_text(error) if as_json else text(error, color=output.colors(sys.stderr, no_color=no_color)))
    if output.ci_system():
        from envctl.cli import ci_output

        ci_output.failed(error, text(error, color=False), annotated=not as_json)


def json_text(error: EnvctlError) -> str:
    """The error as one JSON object, on one line."""
    report = error.as_dict()
    report["error"]["fix"] = fixes(error)
    return redact(output.json_text(report))


def text(error: EnvctlError, *, color: bool) -> str:
    """The error for people."""
    width = output.columns(sys.stderr)
    head = f"error[{error.code}]"
    first, *more = _fitted(f"{head} {_clean(error.message)}", width)
    painted = first.replace(head, output.paint(head, f"{output.BOLD};{output.RED}", on=color), 1)
    lines = [painted, *(" " * _LABEL + line for line in more)]
    for label, value in _parts(error):
        lines += _labelled(output.paint(f"{label:<5}", output.BOLD, on=color), value, width)
    return "\n".join(lines)


def _parts(error: EnvctlError) -> Iterator[tuple[str, str]]:
    """What belongs under the first line, labelled, in the order people need it."""
    if error.cause:
        yield "cause", _clean(error.cause)
    for line in error.evidence:
        yield "", "| " + _clean(line, limit=500)
    for fix in fixes(error):
        yield "fix", _clean(fix)
    if error.state:
        yield "state", _clean(error.state)
    for left in error.leftovers:
        yield "left", _clean(left)


def fixes(error: EnvctlError) -> list[str]:
    """What to do: what the error knows, else what its kind of error always needs."""
    if error.fix:
        return list(error.fix)
    general = described(type(error))[1]
    return [general] if general and not general.startswith("none needed") else []


def described(kind: type[EnvctlError]) -> tuple[str, str]:
    """The situation and the fix, from the docstring of an error's class, each as one paragraph."""
    situation, _, fix = (kind.__doc__ or "").partition("Fix:")
    return " ".join(situation.split()), " ".join(fix.split())


def _clean(value: str, limit: int = 4000) -> str:
    return escape(redact(value), limit=limit, keep_newlines=True)


def _labelled(label: str, value: str, width: int | None) -> list[str]:
    """`value` beside its label, wrapped at a terminal's width and left alone elsewhere."""
    lines = _fitted(value, None if value.startswith("| ") else width)
    return [f"  {label}  {lines[0]}".rstrip(), *(" " * _LABEL + line for line in lines[1:])]


def _fitted(value: str, width: int | None) -> list[str]:
    """The lines of `value`; wrapped so that they fit beside a label where the terminal's width is known."""
    from textwrap import wrap

    lines = value.split("\n")
    if width is None:
        return lines
    room = max(width - _LABEL, 20)
    return [part for line in lines for part in wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]]


def bug(exception: BaseException, arguments: Sequence[str]) -> Bug:
    """Save the traceback of an unexpected exception, without secrets, where only the user can read it."""
    from traceback import format_exception

    trace = redact("".join(format_exception(exception)))
    what = redact(f"{type(exception).__name__}: {exception}".rstrip(": "))
    try:
        where = f"the traceback is in {_save(trace, arguments)}"
        evidence: Sequence[str] = ()
    except EnvctlError:
        where, evidence = "the traceback could not be saved, so here it is", trace.splitlines()
    return Bug(f"unexpected {what}", cause=f"this is a bug in envctl; {where}", evidence=evidence)


def _save(trace: str, arguments: Sequence[str]) -> str:
    from platform import platform

    from envctl import __version__
    from envctl.host import clock, paths
    from envctl.host.files import cannot_write, write_atomic

    state = paths.ensure_state_dir(paths.state_dir(os.environ))
    folder = paths.reports_dir(state)
    try:
        paths.make_private(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    moment = clock.now()
    file = folder / f"bug-{moment:%Y%m%dT%H%M%S%f}-{os.getpid()}.txt"
    told = [f"envctl {__version__}, Python {sys.version}, {platform()}", str(moment), " ".join(["envctl", *arguments])]
    write_atomic(file, redact("\n".join(told)) + "\n\n" + trace)
    return str(file)
