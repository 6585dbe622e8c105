"""What is said of a program that could not be started, by what the operating system answered."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.engines.local.starting import Starting
from envctl.errors import EnvctlError, OsLimit, ServiceExited
from envctl.host.files import cannot_write

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT})
_LIMITS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def unstartable(start: Starting, event: Mapping[str, Any]) -> EnvctlError:
    """The error for the keeper's event "failed"."""
    step, number, reason = event["step"], int(event["errno"]), str(event["error"])
    if step == "start" and number in _NO_SPACE:
        return cannot_write(start.folder / "process.json", OSError(number, reason))
    if number in _LIMITS:
        return OsLimit(
            f'service "{start.name}" cannot be started: {reason.lower()}',
            cause="a limit of the operating system for processes, memory or open files was reached",
            fix=["end what is not needed (`envctl ls`, `envctl down`)", "or raise the limit (`ulimit -a`)"],
            subject={"service": start.name},
        )
    cause, *fix = _chdir(start, reason) if step == "chdir" else _exec(start, number, reason)
    return ServiceExited(
        f'service "{start.name}" cannot be started: {_program(start)}: {reason.lower()}',
        cause=cause,
        evidence=[f"folder: {start.cwd}", f"PATH: {start.environment.get('PATH', os.defpath)}"],
        fix=fix,
        subject={"service": start.name, "program": _program(start), "errno": errno.errorcode.get(number, number)},
    )


def _program(start: Starting) -> str:
    return start.arguments[0]


def _chdir(start: Starting, reason: str) -> tuple[str, ...]:
    return f"its folder {start.cwd} cannot be entered: {reason.lower()}", f"check services.{start.name}.cwd"


def _exec(start: Starting, number: int, reason: str) -> tuple[str, ...]:
    program, check = _program(start), f"check the command of services.{start.name}"
    if number == errno.ENOENT and "/" not in program:
        return f"there is no program {program} in any folder of PATH", f"install {program}, or add its folder to PATH"
    if number == errno.ENOENT and (Path(start.cwd) / program).exists():
        return "the interpreter (or loader) that the file names in its beginning is not there", check
    if number == errno.ENOENT:
        return f"there is no file {program}", check
    if number == errno.ENOEXEC:
        return (
            f"{program} is a program for another architecture, or a script without `#!` in its first line",
            f"install it for this machine ({os.uname().machine}), or give the script a first line such as #!/bin/sh",
        )
    if number in {errno.EACCES, errno.EPERM}:
        who = f"the user with id {start.account[0]}" if start.account else "this user"
        return f"{who} may not run it", f"make it executable (chmod +x), and the folders above it passable; {check}"
    return reason, check
