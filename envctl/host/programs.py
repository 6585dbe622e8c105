"""Programs of this machine and of installed wheels, found without starting or importing anything."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from envctl.errors import EngineFailed
from envctl.host import cache
from envctl.host.account import Account

_ANSWER_LIMIT_S = 20.0
_KINDS = {1: "32-bit", 2: "64-bit"}
_MACHINES = {3: "x86", 8: "MIPS", 21: "PowerPC", 22: "S390", 40: "ARM", 62: "x86-64", 183: "ARM64", 243: "RISC-V"}


def which(name: str, environ: Mapping[str, str]) -> str | None:
    """The executable a shell would run, or None."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder}/{name}"
        if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - fast path
            return path
    return None


def in_wheels(inner: str) -> tuple[str, str] | None:
    """The folder of installed packages that holds `inner`, and the whole path; None where none does."""
    for folder in sys.path:
        path = f"{folder or '.'}/{inner}"
        if os.path.exists(path):  # noqa: PTH110 - on the fast path
            base = os.path.abspath(folder or ".")  # noqa: PTH100 - quicker than pathlib
            return base, f"{base}/{inner}"
    return None


def named_by_option(value: str, names: Sequence[str]) -> str | None:
    """The executable an option names: itself, or the folder it is in. None where there is none."""
    path = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - quicker than pathlib
    if os.path.isfile(path):  # noqa: PTH113 - quicker than pathlib
        return path
    return first_file(f"{folder}/{name}" for folder in (path, f"{path}/bin") for name in names)


def first_file(paths: Iterable[str]) -> str | None:
    """The first path that is a file."""
    return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113 - quicker than pathlib


def siblings(path: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and path of the programs that are in one folder with the given one."""
    folder = os.path.dirname(path)  # noqa: PTH120 - quicker than pathlib
    for name in names:
        if os.path.exists(f"{folder}/{name}"):  # noqa: PTH110 - quicker than pathlib
            yield name, f"{folder}/{name}"


# -- what it says of itself --------------------------------------------------------------------------------------------


def version(path: str, pattern: str, environ: Mapping[str, str], account: Account | None = None) -> str:
    """The version a program tells, which also proves that it can run here.

    It is asked once: the answer is kept in the cache under the file's path, size and time.

    Args:
        path: The program; it understands `--version`.
        pattern: Finds the version in its answer, as its first group.
        environ: The caller's variables.
        account: Who to run it as, where not as ourselves.

    Raises:
        EngineFailed: It cannot run here; the error says why.
    """
    found = _stat(path)
    key = sha256(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_mode}\0{account}".encode()).hexdigest()[:24]
    return cache.remembered(cache.root(environ), "versions", key, lambda: _ask(path, pattern, account))


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116 - on the fast path
    except OSError as error:
        raise cannot_run(path, error) from error


def _ask(path: str, pattern: str, account: Account | None) -> str:
    code, answer = run([path, "--version"], account=account, limit_s=_ANSWER_LIMIT_S)
    match = re.search(pattern, answer)
    if code == 0 and match:
        return match[1]
    lines = answer.strip().splitlines()[-5:]
    raise EngineFailed(
        f"{path} cannot run here",
        cause=lines[-1] if lines else f"it ended with exit code {code}",
        evidence=lines,
        fix=["install it again for this machine", "or name another one in `engine_options` (`envctl doctor` shows it)"],
        subject={"path": path},
    )


def run(
    command: Sequence[str],
    *,
    account: Account | None = None,
    text: str = "",
    folder: str = "/",
    limit_s: float,
) -> tuple[int, str]:
    """Exit code and output of a short program, which gets none of the caller's variables but PATH.

    Args:
        command: Program and arguments.
        account: Who to run it as, where not as ourselves.
        text: Its standard input.
        folder: Its working directory.
        limit_s: How long it may take, seconds.

    Raises:
        EngineFailed: It cannot be started, or takes too long.
    """
    import subprocess

    user, group = account or (None, None)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        ended = subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            user=user,
            group=group,
            extra_groups=None if account is None else [],
            umask=0o077,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not end within {limit_s:g} s"
        raise EngineFailed(message, fix=["look at what keeps this machine busy"]) from error
    except OSError as error:
        raise cannot_run(command[0], error, account) from error
    return ended.returncode, ended.stdout.decode(errors="replace")


def cannot_run(path: str, error: OSError, account: Account | None = None) -> EngineFailed:
    """The error to raise where the kernel would not start a program."""
    cause, fix = (error.strerror or str(error)).lower(), f"check {path}"
    if error.errno == errno.ENOEXEC:
        cause, fix = _architecture(path), "install it for this machine's architecture"
    elif error.errno == errno.EACCES:
        cause, fix = "it is not executable, or its file system is mounted noexec", f"chmod +x {path}"
    elif error.errno == errno.ENOENT and os.path.exists(path):  # noqa: PTH110 - quicker than pathlib
        cause, fix = "the loader it was built for is not on this machine", "install it for this Linux distribution"
    elif error.errno in {errno.EPERM, errno.EINVAL} and account is not None:
        cause = f"we may not become user {account[0]}: this root has no right to (a user namespace, or a capability)"
        fix = "run envctl as an ordinary user"
    return EngineFailed(f"{path} cannot run here", cause=cause, fix=[fix], subject={"path": path})


def _architecture(path: str) -> str:
    """Why the kernel does not know the format (the ELF header, elf(5))."""
    its, ours = _elf(path), _elf("/proc/self/exe")
    if its and its != ours:
        return f"it was built for {its}, this machine runs {ours or 'something else'}"
    return "it is damaged" if its else "it is no program"


def _elf(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - quicker than pathlib
            head = file.read(20)
    except OSError:
        return ""
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return f"{_MACHINES.get(number, f'machine {number}')} ({_KINDS.get(head[4], '?')})"
