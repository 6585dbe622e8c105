"""Services without containers for tests: prepared by a kind's native.py, started as the local engine starts them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from harness import eventually
from local_server import free_port

from envctl.host import account
from envctl.model import Program

STACK = "0123456789ab"


@contextmanager
def machine() -> Iterator[Path]:
    """A folder that stands for a machine's: others can pass through it, and it is removed at the end."""
    folder = Path(mkdtemp(prefix="envctl-native-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        # What was killed with its program, as an initdb's server, may still be writing.
        assert eventually(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


@dataclass
class Service:
    """One service: where its files are and what it was asked to be."""

    state: Path
    name: str
    definition: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The service's folder."""
        folder = self.state / "stacks" / STACK / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def data(self) -> Path:
        """Its data folder."""
        return account.data_folder(self.state, STACK, self.name, unprivileged_service=True)

    @property
    def user(self) -> tuple[int, int] | None:
        """Who it runs as."""
        return account.unprivileged()

    def as_user(self) -> dict[str, Any]:
        """The same for `subprocess`."""
        return {"user": self.user[0], "group": self.user[1], "extra_groups": []} if self.user else {}


def definition(program: Program, *, persist: bool = False, **more: Any) -> dict[str, Any]:
    """A definition as `envctl.plan.processes` makes it, as far as `prepare` reads it."""
    port = str(free_port())
    made: Mapping[str, Any] = {
        "paths": dict(program.paths),
        "program": f"{program.name} {program.version}",
        "persist": persist,
        "unprivileged": True,
        "client": {"PGHOST": "127.0.0.1", "PGPORT": port, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": port},
        "setup": {"user": "app", "database": "shop"},
    }
    return {**made, **more}


@contextmanager
def running(service: Service, *arguments: str, text: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The service's process; its log is beside its folder."""
    with (service.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", **service.as_user()
        )
    assert process.stdin
    if text is not None:
        process.stdin.write(text.encode())
    process.stdin.close()
    try:
        yield process
    finally:
        process.send_signal(3)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def real_user(pid: int) -> set[int]:
    """The user ids of a process: real, effective, saved, of the file system; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {int(word) for word in next(line for line in lines if line.startswith("Uid:")).split()[1:]}
