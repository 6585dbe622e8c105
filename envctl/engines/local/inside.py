"""Programs run as a service would run them: with its variables, in its folder, its own programs first.

`envctl exec`, and checks of readiness by a command. A process has no inside as a container has: this comes nearest.
What is started belongs to the service (ENVCTL_PROCESS), so that nothing of it outlives `envctl down`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from envctl.engines.local import account, folders, labelled, records
from envctl.errors import StateDamaged
from envctl.host.signals import shielded
from envctl.model import DATA
from envctl.plan import secrets

if TYPE_CHECKING:
    import subprocess
    from types import FrameType

    from envctl.host.streams import Writable

_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as `docker exec`, and every shell
# What of the caller's variables reaches a program of a service that does not inherit them all: what its own processes
# get, and what a person at a terminal expects.
_BASIC = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR"})
_PERSONAL = frozenset({"TERM", "COLORTERM", "NO_COLOR", "USER", "LOGNAME", "SHELL", "PAGER", "EDITOR", "VISUAL"})


def run(folder: Path, command: Sequence[str], environ: Mapping[str, str], limit_s: float) -> tuple[int, str]:
    """Run a program and wait for it: exit code (128 + signal where one ended it) and output, both streams in one.

    Args:
        folder: The service's folder.
        command: Program and arguments.
        environ: The caller's variables.
        limit_s: How long it may take, seconds.

    Raises:
        TimeoutError: It took longer; all processes of its group were killed.
        StateDamaged: The service's secrets are not known.
    """
    import subprocess

    record, cwd = _service(folder)
    environment = _environment(folder, record, environ, _BASIC)
    started: list[subprocess.Popen[bytes]] = []
    try:
        with shielded():  # a signal while it is being started would lose it
            started.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=environment,
                    start_new_session=True,
                )
            )
        (process,) = started
        output, _ = process.communicate(timeout=limit_s)
    except OSError as error:
        return _refusal(command[0], cwd, error)
    except BaseException as error:
        for process in started:
            _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"it took longer than {limit_s:g} s") from error
        raise
    return _exit_code(process.returncode), output.decode(errors="replace")


def stream(
    folder: Path,
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: BinaryIO | None = None,
    stdout: Writable | None = None,
) -> tuple[int, str]:
    """Run a program that reads a file of ours, or writes one: exit code as of `run`, and what it said on stderr.

    Raises:
        StateDamaged: The service's secrets are not known.
    """
    import subprocess

    from envctl.host import streams

    record, cwd = _service(folder)
    environment = _environment(folder, record, environ, _BASIC)

    def start(reads: int, writes: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=reads,
            stdout=writes,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )

    try:
        code, said = streams.run(start, _kill, stdin=stdin, stdout=stdout)
    except (FileNotFoundError, PermissionError) as error:
        return _refusal(command[0], cwd, error)
    return _exit_code(code), said


def execute(
    folder: Path,
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: bool,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Run a program on our standard streams, and in our terminal where there is one; its exit code.

    Args:
        folder: The service's folder.
        command: Program and arguments.
        environ: The caller's variables.
        stdin: Whether it may read our standard input.
        variables: What it gets in any case.

    Returns:
        Its exit code, 128 + signal where one ended it; 126 and 127, with a line on stderr, where it cannot be run or is
        not found.

    Raises:
        StateDamaged: The service's secrets are not known.
    """
    import subprocess

    record, cwd = _service(folder)
    environment = {**_environment(folder, record, environ, _BASIC | _PERSONAL), **(variables or {})}
    started: list[subprocess.Popen[bytes]] = []
    with _terminal_given_away():
        try:
            with shielded():  # as above
                reads = None if stdin else subprocess.DEVNULL
                started.append(subprocess.Popen(command, stdin=reads, cwd=cwd, env=environment))
            return _exit_code(started[0].wait())
        except OSError as error:
            code, text = _refusal(command[0], cwd, error)
            sys.stderr.write(text)
            return code
        except BaseException:
            for process in started:
                process.terminate()
                process.wait()
            raise


# -- what it gets ----------------------------------------------------------------------------------------------------


def _service(folder: Path) -> tuple[records.ProcessRecord, str]:
    """The service's record, and the folder its programs run in."""
    record = records.read(folder)
    return record, str(record.definition.get("cwd") or folder)


def _environment(
    folder: Path, record: records.ProcessRecord, environ: Mapping[str, str], passed: Iterable[str]
) -> dict[str, str]:
    """The variables of the service, of clients of it, and those of the caller that reach it."""
    definition = record.definition
    known = {name: value for name, value in environ.items() if name in passed or name.startswith("LC_")}
    own = {**definition.get("environment", {}), **definition.get("client", {})}
    environment = {**(environ if definition.get("inherits") else known), **_filled(folder, record, own)}
    named = definition.get("paths", {})
    programs = [str(Path(path).parent) for role, path in named.items() if role != "packages"]
    path = [str(folder / "bin"), *dict.fromkeys(programs), environment.get("PATH", os.defpath)]
    environment |= {"PATH": os.pathsep.join(path), "PWD": str(definition.get("cwd") or folder)}
    if record.cookie:
        environment[records.COOKIE_VARIABLE] = record.cookie
    return environment


def _filled(folder: Path, record: records.ProcessRecord, own: Mapping[str, str]) -> dict[str, str]:
    """The values with secrets and the data folder in the place of their markers."""
    root = folder.parent
    values = secrets.environment(labelled.credentials(root))
    data = str(account.data_folder(folders.state_of(root), root.name, record.name, record.definition))
    try:
        return {name: secrets.filled(value, values).replace(DATA, data) for name, value in own.items()}
    except KeyError as error:
        raise StateDamaged(
            f'the passwords that service "{record.name}" uses are not known',
            cause=f"{root / labelled.FILE} is missing or damaged",
            fix=["envctl down, then: envctl up"],
            subject={"service": record.name, "path": str(root / labelled.FILE)},
        ) from error


# -- how it ends -----------------------------------------------------------------------------------------------------


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with all of its process group."""
    if process.returncode is None:  # not waited for: the number is still its own
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _exit_code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def _refusal(program: str, cwd: str, error: OSError) -> tuple[int, str]:
    """Exit code and message for a program that could not be started."""
    from envctl.host.terminal import escape

    code = _NOT_EXECUTABLE
    if not Path(cwd).is_dir():
        reason = f"its folder {cwd} is not there"
    elif error.errno == errno.ENOENT:
        code = _NOT_FOUND
        reason = "no such file, or its interpreter is missing" if "/" in program else "not found in PATH"
    else:
        reason = (error.strerror or str(error)).lower()
    return code, f'error: cannot run "{escape(program)}": {escape(reason)}\n'


@contextmanager
def _terminal_given_away() -> Iterator[None]:
    """While the block runs, Ctrl-C is for the program alone, as they are under a shell.

    It is in our process group, so that the terminal sends it the signals too; psql answers one by giving up a query,
    and goes on. Where no terminal sends them, they end us, and with us the program.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    ours = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    if not _is_main_thread() or not _is_in_foreground():
        ours = []
    try:
        for number in ours:
            signal.signal(number, _leave_it)  # unlike SIG_IGN this does not stay in the program
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _leave_it(number: int, frame: FrameType | None) -> None:
    """The program has got the same signal."""


def _is_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _is_in_foreground() -> bool:
    """Whether what is typed at a terminal comes to our process group."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)
