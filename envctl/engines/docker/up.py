"""`docker compose up` under way.

Compose is called directly, not through a client library: its child must inherit the environment's lock, so that after
a `kill -9` of envctl the next command waits until Compose is done; and importing a library first would cost more than
the rest of envctl.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from envctl.engines.docker import cli
from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.failures import classify
from envctl.model import Stack
from envctl.report import Initiator

_PHASES = {"Creating": "creating", "Created": "created", "Starting": "starting", "Started": "waiting"}
_KEPT_LINES = 40


class ComposeUp:
    """A running `docker compose up -d`.

    Args:
        where: The engine.
        stack: The stack; its project name becomes Compose's.
        document: The Compose file.
        services: Which services to start.
        variables: Secrets, for Compose to put into the containers.
        initiator: Its lock is inherited by Compose; it is told from the reading thread.
    """

    def __init__(
        self,
        where: Endpoint,
        stack: Stack,
        document: Path,
        services: Sequence[str],
        *,
        variables: Mapping[str, str],
        initiator: Initiator,
    ) -> None:
        lock_fd, self._started, self._failed, self._progress = initiator
        self._container = re.compile(rf"Container {re.escape(stack.project)}-(?P<service>.+)-\d+ +(?P<word>\w+)")
        self._lines: list[str] = []
        self._error: Exception | None = None
        self._cancelled = False
        options = ["--project-name", stack.project, "--file", str(document), "--progress", "plain"]
        self._process = subprocess.Popen(
            [
                *(cli.program(), *where.arguments, "compose", *options),
                *("up", "--detach", "--no-build", "--no-deps", "--pull", "never", *services),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**cli.environment(), **variables},
            pass_fds=(lock_fd,),
            start_new_session=True,  # a terminal's Ctrl-C is for us; we end Compose ourselves
            preexec_fn=cli.die_with_parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ready(self, service: str) -> None:
        """Nothing to do: Compose itself waits for what containers depend on."""

    def wait(self) -> None:
        """Until Compose has ended.

        Raises:
            EnvctlError: It failed; `PortTaken` and `SubnetTaken` for what can be tried again.
        """
        self._reader.join()
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """End Compose, if it still runs."""
        self._cancelled = True
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its plugin too, which holds the pipe we read
        self._reader.join()

    def _read(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - it is a pipe
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").strip()
                self._tell(line)
                self._lines = [*self._lines[-_KEPT_LINES:], line]
        if self._process.wait() != 0 and not self._cancelled:
            self._error = classify("\n".join(self._lines), doing="start the services")
            self._failed(self._error)

    def _tell(self, line: str) -> None:
        found = self._container.search(line)
        if found and found["word"] in _PHASES:
            self._progress.phase(found["service"], _PHASES[found["word"]])
            if found["word"] == "Started":
                self._started(found["service"])
