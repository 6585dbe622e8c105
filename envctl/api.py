"""The Python interface: an environment as a context manager.

with envctl.up() as env:
    psycopg.connect(env.postgres.url)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from envctl import environment, running
from envctl.environment import Selection, Wishes
from envctl.errors import ServiceNotFound
from envctl.model import Connection, Session, SessionRequest
from envctl.report import EnvironmentReport, Progress, Silent

if TYPE_CHECKING:
    from envctl.conductor.data.resetting import Resetting
    from envctl.conductor.data.seeding import Seeded
    from envctl.host.watcher import Watcher
    from envctl.model import ResetReport, ResetStrategy


class Environment:
    """An environment that is up, for as long as this process uses it.

    Made by `envctl.up`. Where that made the environment, it is removed at the end of the `with` block, or at the end of
    the process, however that ends; one that was up already is used and left.

    Attributes:
        name: Its name, "shop-main-3fa91c02".
        project: The project's name.
        branch: The branch, as git spells it.
        engine: The engine it runs on.
        services: How to reach each service, by its name.
        variables: What `envctl env` prints.
        timings_ms: How long the phases of the `up` took, milliseconds.
        session: This use of it; `session.slot` is a number that no other user of the environment has meanwhile.
    """

    def __init__(self, report: EnvironmentReport, selection: Selection, watcher: Watcher | None) -> None:
        """Use `envctl.up`."""
        if report.session is None:
            raise ValueError("the report is of no session")
        self._report, self._selection, self._watcher = report, selection, watcher
        self._pid = os.getpid()
        self._resetting: Resetting | None = None
        self.session: Session = report.session
        self.name = report.identity.name
        self.project = report.identity.project
        self.branch = report.identity.branch
        self.engine = report.engine
        known = {name: service.connection for name, service in report.services.items()}
        self.services: Mapping[str, Connection] = MappingProxyType(known)
        self.variables: Mapping[str, str] = MappingProxyType(dict(report.variables))
        self.timings_ms: Mapping[str, int] = MappingProxyType(dict(report.timings_ms))

    def __repr__(self) -> str:
        return f"<Environment {self.name} on {self.engine}: {', '.join(self.services)}>"

    @property
    def goes_with_its_users(self) -> bool:
        """Whether it was made for sessions, as this one, and goes with the last of them."""
        return self._report.ephemeral

    @property
    def postgres(self) -> Connection:
        """The first service of kind postgres. Raises ServiceNotFound."""
        return self.first_of_kind("postgres")

    @property
    def redis(self) -> Connection:
        """The first service of kind redis. Raises ServiceNotFound."""
        return self.first_of_kind("redis")

    @property
    def websocket(self) -> Connection:
        """The first service of kind websocket. Raises ServiceNotFound."""
        return self.first_of_kind("websocket")

    def first_of_kind(self, kind: str) -> Connection:
        """The first service of a kind. Raises ServiceNotFound."""
        for connection in self.services.values():
            if connection.kind == kind:
                return connection
        raise ServiceNotFound(
            f"environment {self.name} has no service of kind {kind}",
            cause=f"its services are: {', '.join(self.services)}",
            fix=[f"add one to services in envctl.yaml: {kind}: {{}}"],
            subject={"kind": kind},
        )

    def logs(self, service: str, *, tail_lines: int | None = None, since: str | None = None) -> list[str]:
        """What a service has logged, by line, raw.

        Args:
            service: The service's name.
            tail_lines: Only so many lines, the last ones.
            since: Only what came since then: "30s" ago, or a moment as ISO 8601.

        Raises:
            ServiceNotFound: There is no such service.
        """
        found = environment.logs(self._own(), [service], follow=False, tail_lines=tail_lines, since=since)
        return [line for _, line in found]

    def exec(self, service: str, command: Sequence[str], *, limit_s: float = 60.0) -> tuple[int, str]:
        """Run a program inside a service: its exit code, and all it said.

        Args:
            service: The service's name.
            command: Program and arguments.
            limit_s: How long it may take, seconds.

        Raises:
            TimeoutError: It took longer.
            ServiceNotFound: There is no such service.
        """
        return environment.answer(self._own(), service, command, limit_s)

    def database(self, name: str | None = None, *, service: str | None = None, replace: bool = False) -> Connection:
        """A database of one's own: a copy of the seeded baseline, else of what the environment's own database holds.

        Args:
            name: Its name; None for one that nobody else has.
            service: Which Postgres or Redis; None for the first Postgres.
            replace: Whether one of that name which was made so goes first.

        Raises:
            NotOurs: One of that name is there, and was not made so.
            DataFailed: One is there and is not to be replaced, or it could not be made.
        """
        from envctl.conductor.data import lending

        return lending.create(self._own(), name, service=service, replace=replace)

    def drop_database(self, made: Connection) -> None:
        """Remove a database that `database` made; again does nothing. What is left is removed after this use's end.

        Raises:
            NotOurs: It was not made so.
        """
        from envctl.conductor.data import lending

        lending.drop(self._own(), [made.database or ""], service=made.service)

    def seed(self, *services: str, migrate: bool = False, new_baseline: bool = False) -> list[Seeded]:
        """Apply the seeds of the configuration again, on top of what the services hold.

        Args:
            services: Of which services; none for all that have a seed.
            migrate: Whether they are migrated first.
            new_baseline: Whether a reset goes back to what they hold then, and no more to what it did.

        Returns:
            What was done, for each service.

        Raises:
            SeedFailed: A file or a command failed; `error.state` tells whether the environment is dirty now.
            MigrationFailed: The same of a migration.
            ForeignServer: What answers is not the environment's own server.
        """
        return environment.seed(self._own(), services, progress=Silent(), migrate=migrate, new_baseline=new_baseline)

    def reset(self, *services: str, strategy: ResetStrategy | None = None) -> tuple[ResetReport, ...]:
        """Put the data of services back to what they were seeded with; connections of the application stay open.

        The first call connects to each service; the connections stay until the environment is closed, so that every
        later call takes a few milliseconds.

        Args:
            *services: Their names; none for all that can be reset.
            strategy: "tables" or "template" for Postgres, "auto" for whichever is quicker; None for what the
                configuration says.

        Returns:
            What was done, by service.

        Raises:
            NoBaseline: A service was neither seeded nor migrated, and no baseline was set.
            ForeignServer: The server at a service's address is not this environment's.
            ResetBlocked: Somebody holds locks on the data, and was not ended.
            DataFailed: A server failed; the data of its service is as it was.
            ServiceNotFound: There is no such service.
        """
        if self._resetting is None:
            self._resetting = environment.resetting(self._own(), progress=Silent())
        return self._resetting.reset(services, strategy=strategy)

    def snapshot(self, name: str, *, replace: bool = False) -> None:
        """Save what the services hold, each at one moment, under a name; tests go on meanwhile.

        Args:
            name: What it is called, in this project.
            replace: Whether it may take the place of another.

        Raises:
            WouldOverwrite: There is one of this name.
            DataFailed: It could not be saved.
        """
        from envctl import saved

        saved.save(self._own(), name, replace=replace, progress=Silent())

    def restore(self, name: str, *, only: Sequence[str] = ()) -> None:
        """Put back what a snapshot holds, all of it or nothing. Open connections to Postgres are ended.

        Args:
            name: The snapshot.
            only: Only these services; none for all that it holds.

        Raises:
            SnapshotNotFound: There is none of this name.
            SnapshotInvalid: It is damaged, or does not fit this environment; nothing was changed.
            DataFailed: It could not be restored.
        """
        from envctl import saved

        saved.restore(self._own(), name, only=only, progress=Silent())

    def down(self) -> None:
        """Remove the environment now, whoever made it.

        Raises:
            EnvironmentInUse: Another process uses it.
            Leftovers: Something could not be removed.
        """
        self._hang_up()
        environment.down(self._own(), progress=Silent())
        self._dismiss()

    def close(self, *, keep: bool = False) -> bool:
        """End this use of it; again does nothing.

        Args:
            keep: Whether the environment stays, although it was made here.

        Returns:
            Whether the environment was removed.

        Raises:
            Leftovers: Something could not be removed.
        """
        self._hang_up()
        removal = environment.end_session(self._selection.environ, self.session.id, keep=keep)
        self._dismiss()
        return removal is not None

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if os.getpid() == self._pid:  # a fork that leaves the block is not its end
            self.close()

    def _own(self) -> Selection:
        """This environment and no other, also where the branch has changed since, or its session has ended."""
        whose = self._report.identity
        environ = {**self._selection.environ, environment.SESSION_VARIABLE: self.session.id}
        return replace(self._selection, environ=environ, branch=whose.branch or None, label=whose.label)

    def _hang_up(self) -> None:
        if self._resetting is not None:
            self._resetting.close()

    def _dismiss(self) -> None:
        if self._watcher is not None:
            self._watcher.dismiss()


def up(
    spec: Mapping[str, Any] | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    branch: str | None = None,
    name: str | None = None,
    engine: str | None = None,
    fresh: bool = False,
    keep: bool = False,
    timeout_s: float | None = None,
) -> Environment:
    """Create or reuse an environment, and wait until every service is ready.

    Which environment it is follows from the current folder, as on the command line. Nothing is printed.

    Args:
        spec: What envctl.yaml would say, instead of the file: {"services": {"postgres": {}}}.
        file: The configuration file, instead of the nearest envctl.yaml.
        branch: Another branch's environment.
        name: A second environment beside the branch's.
        engine: "auto", "compose" or "embedded"; None for what the configuration says.
        fresh: Whether what is there is removed first, with its data.
        keep: Whether an environment that is made here stays up afterwards.
        timeout_s: Time for becoming ready, seconds; None for the configuration's `ready_timeout`.

    Raises:
        EnvctlError: It could not be brought up; the subclass and its `code` say why. What was begun was removed again.
        TypeError: Both `spec` and `file` were given.
    """
    if spec is not None and file is not None:
        raise TypeError("give either spec or file")
    selection = Selection(
        start=Path.cwd(),
        environ=dict(os.environ),
        file=Path(file) if file is not None else None,
        branch=branch,
        label=name or "",
        engine=engine,
        given=spec,
    )
    request = running.new_session("a Python program", keep=keep)
    return attach(selection, request, Wishes(timeout_s=timeout_s, fresh=fresh))


def attach(
    selection: Selection, request: SessionRequest, wishes: Wishes, *, progress: Progress | None = None
) -> Environment:
    """As `up`, for a session that is described whole: of this process, or of another one that goes on after it.

    Args:
        selection: Which environment.
        request: The session. A watcher is started unless it works on behalf of another (`ID.NAME`).
        wishes: How it is to be done; its `session` is replaced.
        progress: Is told what happens.

    Raises:
        EnvctlError: It could not be brought up.
    """
    wishes = replace(wishes, session=request)
    if "." in request.id:
        return Environment(environment.up(selection, progress=progress or Silent(), wishes=wishes), selection, None)
    with running.watched(selection.environ, request.id, request.owner) as watcher:
        report = environment.up(selection, progress=progress or Silent(), wishes=wishes)
        if request.owner.pid != os.getpid():
            watcher.leave()
        return Environment(report, selection, watcher)
