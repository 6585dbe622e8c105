"""What each of several commands that run at once has for itself: databases, a number in Redis, a prefix of channels.

Each has a session of its own, on behalf of the run's, so a slot that names its data. Who gets a slot clears what its
former holder left there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from envctl.conductor import handed, inside, record, session
from envctl.conductor.place import SESSION_VARIABLE, Place
from envctl.host import owner
from envctl.kinds.postgres.data import Databases
from envctl.kinds.postgres.databases import lent, slots
from envctl.kinds.redis import data as redis
from envctl.model import Connection, Session, SessionRequest
from envctl.plan.variables import variables

_COPY_LIMIT_S = 600.0


class Worker(NamedTuple):
    """One of the commands.

    Attributes:
        number: From 1 on.
        session: Its session.
        own: Connections to data of its own, by service.
        variables: What it reads.
    """

    number: int
    session: Session
    own: Mapping[str, Connection]
    variables: Mapping[str, str]


class Workers:
    """The workers of one run.

    Args:
        place: Where we stand.
        run: The run's session.
        count: How many there are.
    """

    def __init__(self, place: Place, run: Session, count: int) -> None:
        self._place, self._run, self._count = place, run, count
        self._found = place.required()
        self._known = record.connections(self._found)
        self.all: list[Worker] = []

    def prepare(self) -> None:
        """Begin their sessions and make their data.

        Raises:
            DataFailed: It could not be made.
            EnvironmentNotFound: The environment was removed meanwhile.
            CannotWrite: What they are handed cannot be written down.
        """
        for number in range(1, self._count + 1):
            request = SessionRequest(f"{self._run.id}.{number}", f"envctl run, worker {number}", owner.current())
            self._place.registry.attach(self._place.key, request)
            begun = session.of_request(self._place.registry, request)
            self.all.append(Worker(number, begun, {}, {}))
        own: list[dict[str, Connection]] = [{} for _ in self.all]
        for name, base in self._known.items():
            if base.kind == "postgres":
                for mine, made in zip(own, self._databases(base), strict=True):
                    mine[name] = made
            elif base.kind == "redis":
                for worker, mine in zip(self.all, own, strict=True):
                    mine[name] = redis.begin(redis.own_database(base, worker.session.slot))
        self.all = [
            worker._replace(own=mine, variables=self._variables(worker, mine))
            for worker, mine in zip(self.all, own, strict=True)
        ]
        name = self._found.identity.name
        handed.forget(self._place, name, handed.left(self._place, self._place.required()))
        for worker in self.all:
            known = {key: value for key, value in worker.variables.items() if key != SESSION_VARIABLE}
            handed.write(self._place, name, worker.session.id, worker.own, known)

    def forget(self) -> None:
        """Remove what is written down of them. Never fails."""
        handed.forget(self._place, self._found.identity.name, [worker.session.id for worker in self.all])

    def remove(self) -> None:
        """Remove their data. Raises DataFailed."""
        for name, base in self._known.items():
            if base.kind == "postgres":
                with _databases(base) as databases:
                    for worker in self.all:
                        slots.remove(databases, base, worker.session.slot)
                    databases.drop(slots.template_name(base, self._run.slot))
            elif base.kind == "redis":
                for worker in self.all:
                    if name in worker.own:
                        redis.flush(worker.own[name])

    def _databases(self, base: Connection) -> list[Connection]:
        def ask(command: Sequence[str]) -> tuple[int, str]:
            return inside.answer(self._place, base.service, command, _COPY_LIMIT_S)

        with _databases(base) as databases:
            template = slots.template(databases, base, self._run.slot, ask)
            return [self._database(databases, base, template, worker.session) for worker in self.all]

    def _database(self, databases: Databases, base: Connection, template: str, worker: Session) -> Connection:
        slots.clear(databases, base, worker.slot)
        made = databases.clone(template, slots.worker_name(base, worker.slot))
        databases.describe(made.database or "", lent.note(str(worker), worker.id))
        return made

    def _variables(self, worker: Worker, own: Mapping[str, Connection]) -> dict[str, str]:
        found = self._found
        known = variables(found.identity, found.stack.engine, self._place.spec, self._known | dict(own))
        return known | {
            SESSION_VARIABLE: worker.session.id,
            "ENVCTL_WORKER": str(worker.number),
            "ENVCTL_WORKERS": str(self._count),
            "ENVCTL_CHANNEL_PREFIX": f"w{worker.session.slot}.",
        }


@contextmanager
def _databases(base: Connection) -> Iterator[Databases]:
    databases = Databases(base, _COPY_LIMIT_S, stays=True)
    try:
        yield databases
    finally:
        databases.close()
