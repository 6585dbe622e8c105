"""Real processes under real keepers, and nothing of them left behind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from envctl.engines.local import records, tree
from envctl.engines.local.keeping import Keeping
from envctl.engines.local.records import ProcessRecord
from envctl.host import clock, owner

LIMIT_S = 20.0
PYTHON = sys.executable


def eventually(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait until something is true."""
    deadline = clock.monotonic_s() + limit_s
    while not condition():
        assert clock.monotonic_s() < deadline, "it did not come about"
        clock.sleep_s(0.005)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Kept:
    """A stack's folder, and keepers for the services in it; leaving the context ends them all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.keepings: list[Keeping] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for keeping in self.keepings:
            keeping.no_more()
        left = tree.end([tree.Stop(record, 9, 0.0) for record in records.read_all(self.root).values()])
        for keeping, thread in zip(self.keepings, self._threads, strict=True):
            if thread.is_alive():
                keeping.hang_up()
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        assert left == []
        assert not list(self.root.rglob(".*.tmp"))

    def keeper(self, lock_fd: int = -1) -> Keeping:
        """A new one."""
        keeping = Keeping(lock_fd)
        thread = threading.Thread(target=keeping.listen, args=(self.events.append,))
        thread.start()
        self.keepings.append(keeping)
        self._threads.append(thread)
        return keeping

    def request(self, name: str, argv: Sequence[str], **changes: Any) -> dict[str, Any]:
        """What a keeper is asked; a name has one folder."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        cookie = os.urandom(8).hex()
        environment: Mapping[str, str] = changes.pop("environment", {"PATH": os.environ["PATH"]})
        return {
            "name": name,
            "folder": str(folder),
            "argv": list(argv),
            "environment": {**environment, "ENVCTL_PROCESS": cookie},
            "cwd": "/",
            "stdin": "",
            "account": None,
            "cookie": cookie,
            "boot_id": owner.current().boot_id,
            "log_limit_bytes": 1_000_000,
            **changes,
        }

    def start(self, name: str, argv: Sequence[str], keeping: Keeping | None = None, **changes: Any) -> ProcessRecord:
        """Start a service, under a keeper of its own where none is given; its record, once its program runs."""
        before = len(self.told(name))
        keeper = keeping or self.keeper()
        keeper.ask(self.request(name, argv, **changes))
        if keeping is None:
            keeper.no_more()
        eventually(lambda: len(self.told(name)) > before)
        return self.record(name)

    def run(self, name: str, argv: Sequence[str], **changes: Any) -> ProcessRecord:
        """Start a service and wait for its end."""
        self.start(name, argv, **changes)
        eventually(lambda: self.told(name)[-1] in {"ended", "failed"})
        return self.record(name)

    def told(self, name: str) -> list[str]:
        """What was told of a service: "started", "failed", "ended"."""
        return [event["event"] for event in list(self.events) if event["service"] == name]

    def record(self, name: str) -> ProcessRecord:
        """What is written down of it."""
        return records.read(self.root / name)

    def said(self, name: str, file: str = "log") -> list[str]:
        """What it said, without the times."""
        path = self.root / name / file
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines]

    def pid_said(self, name: str, number: int = -1) -> int:
        """A process id that it says on a line of its own."""
        eventually(lambda: len(self.said(name)) > max(number, 0) or (number < 0 and self.said(name)))
        return int(self.said(name)[number])
