"""Why a user's command could not be started, and what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from envctl.errors import CommandNotExecutable, CommandNotFound, EnvctlError, OsLimit
from envctl.host import programs

_NOW_AND_HERE = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def why(command: Sequence[str], environ: Mapping[str, str], cwd: Path | None, error: OSError) -> EnvctlError:
    """The error to raise where the system refused to start a command.

    Args:
        command: Program and arguments.
        environ: Its variables; its PATH is where the program was looked for.
        cwd: Its working folder, None for ours.
        error: What the system said.

    Returns:
        CommandNotFound, CommandNotExecutable, or OsLimit where there are too many processes or too little memory.
    """
    program, subject = command[0], {"command": command[0]}  # not its arguments, which may be secret
    if error.errno in _NOW_AND_HERE:
        fix = ["end other programs, or raise the limit (ulimit -u, ulimit -n)"]
        return OsLimit("the command could not be started", cause=_words(error), fix=fix, subject=subject)
    if cwd is not None and not cwd.is_dir():
        cause = f"its working folder {cwd} is not there"
        return CommandNotExecutable(f'cannot run "{program}"', cause=cause, fix=[f"make {cwd}"], subject=subject)
    path = _find(program, environ, cwd)
    if path is None:
        cause = f"there is no file {program}" if "/" in program else "no folder of PATH holds it"
        return CommandNotFound(f'there is no command "{program}"', cause=cause, fix=_fix(command), subject=subject)
    reason, remedy = _refusal(path, error)
    return CommandNotExecutable(
        f'cannot run "{program}"', cause=reason, fix=[remedy], subject={**subject, "path": path}
    )


def _find(program: str, environ: Mapping[str, str], cwd: Path | None) -> str | None:
    """The file the program's name leads to, executable or not."""
    folder = str(cwd or "")
    if "/" in program:
        paths = [os.path.join(folder, program)]  # noqa: PTH118 - keeps "./" as it was typed
    else:
        # The bare name is no file of the working folder, unless an entry of PATH is empty.
        paths = [os.path.join(folder, entry, program) for entry in os.get_exec_path(environ)]  # noqa: PTH118 - quicker than pathlib
    return next((path for path in paths if program and os.path.lexists(path)), None)


def _fix(command: Sequence[str]) -> list[str]:
    program, *arguments = command
    if program.startswith("-"):
        return [f"options of envctl stand in front of the --: envctl run {program} -- …"]
    if "=" in program and arguments:
        return [f"to set a variable: envctl run -- env {program} {arguments[0]} …"]
    if " " in program and not arguments:
        return [f"give each word by itself: envctl run -- {program}", f"or a shell: envctl run -- sh -c '{program}'"]
    if "/" in program:
        return ["check the path, and the folder the command runs in"]
    return ["check its spelling, install it, or give its path (.venv/bin/…, node_modules/.bin/…)"]


def _refusal(path: str, error: OSError) -> tuple[str, str]:
    """Cause and fix where the file is there."""
    if error.errno == errno.E2BIG:
        return "its arguments and variables are longer than this system allows", "pass what is long in a file"
    if os.path.isdir(path):  # noqa: PTH112 - quicker than pathlib
        return f"{path} is a folder", "name a program"
    script = _first_line(path)
    if error.errno == errno.ENOENT and script.startswith("#!") and script.endswith("\r"):
        return "its first line ends as on Windows (CR LF)", f"sed -i 's/\\r$//' {path}"
    if error.errno == errno.ENOENT and script.startswith("#!"):
        return f'the program that its first line names is not there: "{script}"', f"correct the first line of {path}"
    if error.errno == errno.ENOEXEC and script.isprintable():
        return "it is a script without a first line such as #!/bin/sh", f"add that line, or: envctl run -- sh {path}"
    known = programs.cannot_run(path, error)
    return known.cause or _words(error), known.fix[0]


def _first_line(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as all paths here it stays as it was typed
            return file.read(256).partition(b"\n")[0].decode(errors="replace")
    except OSError:
        return ""


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
