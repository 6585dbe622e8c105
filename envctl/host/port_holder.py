"""Who has a TCP port of this machine, in words, from /proc/net/tcp and /proc/PID/fd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from envctl.host.owner import command_name

# States of include/net/tcp_states.h, the most telling first.
_LISTEN, _ESTABLISHED, _TIME_WAIT = 0x0A, 0x01, 0x06


class _Entry(NamedTuple):
    state: int
    uid: int
    inode: int


def holder_of(port: int) -> str | None:
    """Who has the port: "nginx (pid 812, user www)", or None where nothing is to be seen.

    Processes of other users can be named by their user only. A socket that is bound but neither listens nor is
    connected, as a guard, is not in the kernel's table.
    """
    entries = sorted(_entries(port), key=lambda entry: entry.state != _LISTEN)
    if not entries:
        return None
    found = next((entry for entry in entries if entry.inode), entries[0])
    if not found.inode and found.state == _TIME_WAIT:
        return "a connection that ended less than a minute ago"
    user = _user_name(found.uid)
    pid = _pid_of(found.inode)
    who = f"{command_name(pid) or 'a process'} (pid {pid}, user {user})" if pid else f"a process of user {user}"
    return who if found.state == _LISTEN else f"an outgoing connection of {who}"


def _entries(port: int) -> Iterator[_Entry]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:  # noqa: PTH123 - symmetrical with the rest of /proc here
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                yield _Entry(int(fields[3], 16), int(fields[7]), int(fields[9]))


def _pid_of(inode: int) -> int | None:
    """The process with this socket, looked for in all processes this user may see."""
    wanted = f"socket:[{inode}]"
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of entries
        if name.isdigit() and _has(f"/proc/{name}/fd", wanted):
            return int(name)
    return None


def _has(folder: str, wanted: str) -> bool:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - thousands of entries
    except OSError:  # another user's process, or gone meanwhile
        return False
    return any(_target(f"{folder}/{name}") == wanted for name in names)


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 - thousands of entries
    except OSError:
        return ""


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
