"""The program, its state directory, ports and proxies."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from envctl import __version__
from envctl.conductor.place import Selection
from envctl.doctor.finding import Finding
from envctl.errors import CannotWrite
from envctl.host import paths
from envctl.host.files import free_bytes
from envctl.host.ports import PORT_RANGE, ephemeral_range, ephemeral_warning
from envctl.plan.units import format_size

_LOW_DISK_BYTES = 200 * 1024**2
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def program(_: Selection) -> Iterator[Finding]:
    """Versions of what runs here."""
    yield Finding("envctl", "version", __version__)
    yield Finding("envctl", "python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("envctl", "platform", f"{platform.system()} {platform.release()} {platform.machine()}")


def state(selection: Selection) -> Iterator[Finding]:
    """The state directory: which, chosen by what, whether it is private, and its disk."""
    directory = paths.state_dir(selection.environ)
    yield Finding("state", "directory", f"{directory} (from {_chosen_by(selection)})")
    if directory.exists():
        paths.check_state_dir(directory)
    existing = existing_part(directory)
    if not os.access(existing, os.W_OK):
        raise CannotWrite(
            f"{existing} cannot be written", fix=["set ENVCTL_STATE_DIR to a directory that can be written"]
        )
    yield disk("state", existing)


def _chosen_by(selection: Selection) -> str:
    if selection.environ.get("ENVCTL_STATE_DIR"):
        return "ENVCTL_STATE_DIR"
    return "XDG_STATE_HOME" if selection.environ.get("XDG_STATE_HOME", "").startswith("/") else "the home directory"


def existing_part(directory: Path) -> Path:
    """The directory, or the nearest folder above it that exists."""
    return next((folder for folder in (directory, *directory.parents) if folder.is_dir()), Path("/"))


def disk(topic: str, folder: Path) -> Finding:
    """How much room there is."""
    free = free_bytes(folder)
    if free is None:
        return Finding(topic, "free disk", "unknown")
    if free >= _LOW_DISK_BYTES:
        return Finding(topic, "free disk", format_size(free))
    return Finding(topic, "free disk", format_size(free), "the disk is nearly full", (f"free space on {folder}",))


def ports(_: Selection) -> Iterator[Finding]:
    """The range that ports are leased from, and the one the kernel takes ports from by itself."""
    yield Finding("ports", "leased from", f"{PORT_RANGE.start}-{PORT_RANGE.stop - 1}")
    kernel = ephemeral_range()
    shown = f"{kernel[0]}-{kernel[1]}" if kernel is not None else "unknown"
    problem, *fix = (ephemeral_warning(kernel) or "").split(" To separate them: ")
    yield Finding("ports", "kernel's own", shown, problem, tuple(fix))


def proxies(selection: Selection) -> Iterator[Finding]:
    """Proxy settings: a client that sends requests for 127.0.0.1 to a proxy reaches no service."""
    environ = selection.environ
    found = {name: environ.get(name) or environ.get(name.lower(), "") for name in _PROXIES}
    for name in filter(found.get, _PROXIES):
        yield Finding("network", name, found[name])
    through_proxy = found["HTTP_PROXY"] or found["ALL_PROXY"]
    if through_proxy and not {"127.0.0.1", "*"} & {part.strip() for part in found["NO_PROXY"].split(",")}:
        problem = "HTTP clients in your tests may ask the proxy for 127.0.0.1"
        yield Finding("network", "NO_PROXY", found["NO_PROXY"] or "not set", problem, ("add 127.0.0.1 to NO_PROXY",))
