"""Calls of the `docker` program: the quick ones, which must not pay for a client library's import.

Every call has a time limit, an argument list (never a shell) and a classified error.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.program import find
from envctl.errors import EngineTimeout

CALL_LIMIT_S = 20.0
_PR_SET_PDEATHSIG = 1


@cache
def program() -> str:
    """Absolute path of `docker`. Relative entries of PATH are skipped: a checkout must not choose the program.

    Raises:
        EngineNotInstalled: It is not there.
    """
    return find(os.environ)


@cache
def environment() -> Mapping[str, str]:
    """The environment for Docker's programs: ours, without Compose's own settings, which could change what it does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "BUILDKIT_PROGRESS"))}
    return kept | {"DOCKER_CLI_HINTS": "false"}


@dataclass(slots=True)
class Call:
    """A call under way. Start several, then ask each for its answer: they run side by side."""

    arguments: Sequence[str]
    doing: str
    process: subprocess.Popen[bytes]

    def answer(self, limit_s: float = CALL_LIMIT_S) -> str:
        """What it printed.

        Raises:
            EngineTimeout: No answer within `limit_s`.
            EnvctlError: It failed; see `failures`.
        """
        try:
            out, err = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise EngineTimeout(
                f"the Docker engine did not answer within {limit_s:.0f} s",
                cause=f"no answer to: docker {' '.join(self.arguments)}",
                fix=["look at the engine's log (journalctl -u docker), or restart it"],
            ) from None
        except BaseException:
            self.end()
            raise
        if self.process.returncode != 0:
            from envctl.engines.docker.failures import classify

            raise classify(err.decode(errors="replace") or out.decode(errors="replace"), doing=self.doing)
        return out.decode(errors="replace")

    def end(self) -> None:
        """End the call, if it still runs; nobody wants the answer any more."""
        self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def start(endpoint: Endpoint, arguments: Sequence[str], *, doing: str) -> Call:
    """Start a call."""
    return start_program([program(), *endpoint.arguments, *arguments], doing=doing, told=arguments)


def start_program(command: Sequence[str], *, doing: str, told: Sequence[str] = ()) -> Call:
    """Start a call of one of Docker's programs; `told` is what people are shown of it, where that is not all."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        process_group=0,  # a terminal's Ctrl-C must not end the calls of a roll-back
    )
    return Call(told or command, doing, process)


def run(endpoint: Endpoint, arguments: Sequence[str], *, doing: str, limit_s: float = CALL_LIMIT_S) -> str:
    """Make a call and return what it printed. Raises as `Call.answer`."""
    return start(endpoint, arguments, doing=doing).answer(limit_s)


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel ends this child when our process ends, also by `kill -9`."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
