"""Whether we run in a container, and what an engine may know that container as. An ordinary machine pays two looks."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

_MARKS = (".dockerenv", "run/.containerenv")  # left by Docker and by Podman in the root of every container
# Files an engine puts into each container, from a folder that is named after it.
_FILES_GIVEN = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


def is_inside(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container."""
    return any((root / mark).exists() for mark in _MARKS)


def ids(root: Path = Path("/"), hostname: str | None = None) -> tuple[str, ...]:
    """What an engine may know this process's container as, likeliest first. Empty outside of containers.

    Only that engine can tell: the container may be another engine's, and a host name is what somebody chose.

    Args:
        root: Where the file system begins.
        hostname: This machine's name, where it is not to be asked for.
    """
    return tuple(dict.fromkeys(_candidates(root, hostname))) if is_inside(root) else ()


def _candidates(root: Path, hostname: str | None) -> Iterator[str]:
    for line in _lines(root / "proc/self/mountinfo"):
        fields = line.split(" ", 5)
        if len(fields) == 6 and fields[4] in _FILES_GIVEN:
            yield from _ID.findall(fields[3])
    for line in _lines(root / "proc/self/cgroup"):
        yield from _ID.findall(line)
    name = socket.gethostname() if hostname is None else hostname
    if _SHORT_ID.fullmatch(name):
        yield name


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
