"""Programs of ours that go on after us: in a session of their own and with no stream of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import envctl

MARK = "ENVCTL_BACKGROUND"
"""In the environment of what runs by itself, so that it starts nothing of its kind in turn."""

# A CI runner ends what a job left behind, which it knows by these. What finishes a job's cleaning up must outlive it.
# Sources: GitHub's runner, "Cleaning up orphan processes"; Jenkins' ProcessTreeKiller.
_OUTLIVING = {"RUNNER_TRACKING_ID": "0", "BUILD_ID": "dontKillMe", "JENKINS_NODE_COOKIE": "dontKillMe"}

_PATHS = ("ENVCTL_RUN_DIR", "ENVCTL_CACHE_DIR", "DOCKER_CONFIG", "DOCKER_CERT_PATH")  # it goes to another folder


def python(module: str) -> list[str]:
    """The command that calls `main(arguments)` of a module of ours, however envctl itself was found by this Python."""
    root = str(Path(envctl.__file__).resolve().parent.parent)
    call = f"import sys; sys.path.append({root!r}); from {module} import main; main(sys.argv[1:])"
    return [sys.executable, "-P", "-c", call]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of what is to outlive the job that started it."""
    outliving = {name: value for name, value in _OUTLIVING.items() if name in environ}
    paths = {name: os.path.abspath(environ[name]) for name in _PATHS if environ.get(name)}  # noqa: PTH100 - quicker than pathlib
    return {**environ, **outliving, **paths, MARK: "1"}


def start(command: Sequence[str], environ: Mapping[str, str], *, stdin: int | None = None) -> int:
    """Start a program that goes on by itself; its process id. It must leave its working folder by itself.

    Args:
        command: Program, as a path, and arguments.
        environ: Its variables.
        stdin: A descriptor for its standard input; None for nothing.

    Raises:
        OSError: It cannot be started.
    """
    nowhere = (1, 2) if stdin is not None else (0, 1, 2)
    streams: list[Any] = [(os.POSIX_SPAWN_DUP2, stdin, 0)] if stdin is not None else []
    streams += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in nowhere]
    streams += [(os.POSIX_SPAWN_CLOSE, number) for number in _lent()]
    return os.posix_spawn(
        command[0], list(command), environment(environ), file_actions=streams, setsid=True, setsigmask=()
    )


def _lent() -> list[int]:
    """Descriptors that our caller lent us, and who waits for their end waits for us alone: bats does, and make."""
    found = []
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():  # noqa: PTH208, PTH112 - on the fast path
        with suppress(OSError):  # the one by which we look
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found
