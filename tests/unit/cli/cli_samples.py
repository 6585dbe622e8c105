"""A substituted conductor: the command line's own work is tested here, the real one in tests/scenario.

Its functions have the signatures of `envctl.environment` and `envctl.fleet`; a test checks that they stay so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from envctl.environment import Selection, Wishes
from envctl.model import Connection, EnvironmentState, Identity, ServiceState
from envctl.report import EnvironmentReport, Progress, Removal, ServiceReport

PASSWORD = "s3cret-Passw0rd"
TOKEN = "t0ken-of-the-websocket"
IDENTITY = Identity("shop", "main", "/src/shop", "", "3fa91c02" * 8, "shop-main-3fa91c02")


def report(**changes: object) -> EnvironmentReport:
    """A ready environment of four services."""
    services = {
        "postgres": ServiceReport(
            Connection(
                "postgres",
                "postgres",
                "127.0.0.1",
                20431,
                f"postgresql://app:{PASSWORD}@127.0.0.1:20431/shop",
                user="app",
                password=PASSWORD,
                database="shop",
                ports={"postgres": 20431},
            ),
            ServiceState.READY,
            ready_ms=212,
        ),
        "websocket": ServiceReport(
            Connection(
                "websocket",
                "websocket",
                "127.0.0.1",
                20433,
                f"ws://127.0.0.1:20433/ws?token={TOKEN}",
                password=TOKEN,
                path="/ws",
                ports={"websocket": 20433},
            ),
            ServiceState.READY,
        ),
        "redis": ServiceReport(
            Connection(
                "redis",
                "redis",
                "127.0.0.1",
                20432,
                f"redis://:{PASSWORD}@127.0.0.1:20432/0",
                password=PASSWORD,
                database="0",
                ports={"redis": 20432},
            ),
            ServiceState.READY,
        ),
        "mailer": ServiceReport(
            Connection(
                "mailer",
                "generic",
                "127.0.0.1",
                20434,
                "tcp://127.0.0.1:20434",
                ports={"smtp": 20434, "http": 20435},
            ),
            ServiceState.READY,
        ),
        "worker": ServiceReport(Connection("worker", "generic", "127.0.0.1", None), ServiceState.READY),
    }
    made = EnvironmentReport(
        IDENTITY,
        "compose",
        EnvironmentState.READY,
        "2026-11-22T10:00:00Z",
        services=services,
        variables={"ENVCTL_ENV": IDENTITY.name, "POSTGRES_PASSWORD": PASSWORD, "SPACED": "two  words $HOME 'q'"},
        timings_ms={"total": 650},
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test gives what it likes


@dataclass
class Conductor:
    """What it was asked, and what it answers."""

    result: EnvironmentReport = field(default_factory=report)
    error: BaseException | None = None
    lines: Sequence[tuple[str, str]] = ()
    removal: Removal | None = None
    exit_code: int = 0
    during_up: Callable[[Progress], None] | None = None
    asked: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)

    def _answer(self, verb: str, **arguments: object) -> None:
        self.asked.append((verb, arguments))
        if self.error is not None:
            raise self.error

    def up(self, selection: Selection, *, progress: Progress, wishes: Wishes | None = None) -> EnvironmentReport:
        if self.during_up:
            self.during_up(progress)
        self._answer("up", selection=selection, wishes=wishes)
        return self.result

    def dry_run(self, selection: Selection) -> str:
        self._answer("dry_run", selection=selection)
        return "1 create network (absent)\n2 start postgres (absent)"

    def render(self, selection: Selection, *, inline_secrets: bool = False) -> str:
        self._answer("render", inline_secrets=inline_secrets)
        return "services: {}\n"

    def recorded(self, selection: Selection, *, dirty_too: bool = False) -> EnvironmentReport:
        self._answer("recorded", selection=selection)
        return self.result

    def status(self, selection: Selection) -> EnvironmentReport:
        self._answer("status", selection=selection)
        return self.result

    def logs(
        self,
        selection: Selection,
        services: Sequence[str],
        *,
        follow: bool,
        tail_lines: int | None,
        since: str | None,
    ) -> Iterator[tuple[str, str]]:
        self.asked.append(("logs", {"services": services, "follow": follow, "tail_lines": tail_lines, "since": since}))
        yield from self.lines
        if self.error:
            raise self.error

    def execute(
        self,
        selection: Selection,
        service: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        variables: Mapping[str, str] | None = None,
    ) -> int:
        self._answer(
            "execute", selection=selection, service=service, command=list(command), tty=tty, variables=variables
        )
        return self.exit_code

    def down(
        self,
        selection: Selection,
        *,
        progress: Progress,
        keep_ports: bool = False,
        purge: bool = False,
        timeout_s: float | None = None,
        force: bool = False,
    ) -> Removal | None:
        self._answer("down", selection=selection, keep_ports=keep_ports, purge=purge, timeout_s=timeout_s, force=force)
        return self.removal

    def list_environments(
        self, environ: Mapping[str, str], *, sizes_limit_s: float | None = None
    ) -> list[EnvironmentReport]:
        self._answer("ls", sizes_limit_s=sizes_limit_s)
        return [self.result]

    def select(self, environ: Mapping[str, str], patterns: Sequence[str] = ()) -> list[EnvironmentReport]:
        self._answer("select", patterns=patterns)
        return [self.result]

    def down_all(
        self, environ: Mapping[str, str], *, progress: Progress, patterns: Sequence[str] = (), force: bool = False
    ) -> list[Removal]:
        self._answer("down_all", patterns=patterns, force=force)
        return [self.removal] if self.removal else []


ENVIRONMENT_FUNCTIONS = ("up", "dry_run", "render", "recorded", "status", "logs", "execute", "down")
FLEET_FUNCTIONS = ("list_environments", "select", "down_all")


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, parsed."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error on stderr, parsed."""
        return json.loads(self.err)["error"]


Call = Callable[..., Outcome]
