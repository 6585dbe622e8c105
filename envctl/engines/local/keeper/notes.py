"""What the keeper reads and writes down: JSON by its C part, files that are never half there."""

# ruff: noqa: PTH105, PTH123 - pathlib takes as long to import as the rest of the keeper's start
from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _reader() -> Callable[[str], Any]:
    """`json.loads`, or its C part alone where that is where it used to be: the rest of it is slow to import."""
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads

        return loads

    class Rules:
        """What a scanner is told."""

        strict = False
        memo: dict[str, str] = {}  # noqa: RUF012 - json's scanner wants it so
        object_hook = object_pairs_hook = None
        parse_float, parse_int, parse_constant = float, int, float

    scan = make_scanner(Rules)  # type: ignore[arg-type]  # a class does as well
    return lambda text: scan(text, 0)[0]


read_json = _reader()


def to_json(value: object) -> str:
    """The JSON of what the keeper writes: objects, texts and numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_json(key)}: {to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped) + '"'
    return repr(value)


def start_ticks(pid: int | str) -> int:
    """When a process was started, in ticks since the machine was: field 22 of /proc/PID/stat, see proc(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        raw = file.read()
    return int(raw[raw.rindex(b")") + 2 :].split()[19])


MY_START_TICKS = start_ticks("self")


def write_atomic(path: str, text: str) -> None:
    """Write a file so that a reader sees all of it or none. Not synced: it says nothing after a power failure.

    Raises:
        OSError: It could not be written; nothing half written stays.
    """
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{os.getpid()}-{MY_START_TICKS}-{os.urandom(4).hex()}.tmp"  # `files.sweep` knows it
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            data = text.encode()
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except OSError:
        quietly(os.unlink, temporary)
        raise


def quietly(function: Callable[..., Any], *arguments: object) -> Any:
    """What the function returns, or None where the operating system refuses: for what may fail without harm."""
    try:
        return function(*arguments)
    except OSError:
        return None
