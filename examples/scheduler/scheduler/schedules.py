"""When workflows are to run."""

from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from scheduler.errors import NotFound, NotPossible
from scheduler.queue import Queue
from scheduler.runs import Runs


class Schedules:
    """The schedules: what is true stands in Postgres; Redis has what the workers ask for all the time."""

    def __init__(self, database: psycopg.Connection, queue: Queue, runs: Runs):
        self._database = database
        self._queue = queue
        self._runs = runs

    def create(self, name: str, workflow: str, cron: str, next_at: datetime, calendar: str | None = None) -> int:
        """A new schedule, active at once; its number."""
        with self._database.transaction():
            row = self._database.execute(
                """INSERT INTO schedules (name, workflow_id, calendar_id, cron, next_at)
                   SELECT %s, workflows.id, (SELECT id FROM calendars WHERE name = %s), %s, %s
                     FROM workflows WHERE workflows.name = %s RETURNING id""",
                (name, calendar, cron, next_at, workflow),
            ).fetchone()
            if row is None:
                raise NotFound(f"workflow {workflow}")
            self._queue.plan(name, workflow, next_at)
        return row[0]

    def trigger(self, name: str, **options) -> int:
        """Have its workflow run now; the number of the run."""
        row = self._database.execute(
            "SELECT schedules.id, workflows.name, state, input FROM schedules "
            "JOIN workflows ON workflows.id = workflow_id WHERE schedules.name = %s",
            (name,),
        ).fetchone()
        if row is None:
            raise NotFound(f"Scheduled workflow not found for schedule: {name}")
        schedule, workflow, state, given = row
        if state != "active":
            raise NotPossible(f"schedule {name} is {state}")
        return self._runs.start(workflow, schedule=schedule, given=given | options)

    def pause(self, name: str, reason: str, since: datetime) -> None:
        """Let it rest until it is resumed."""
        with self._database.transaction():
            schedule = self._change(name, "active", "paused", None)
            self._database.execute(
                "INSERT INTO schedule_pauses (schedule_id, during, reason) VALUES (%s, tstzrange(%s, NULL), %s)",
                (schedule, since, reason),
            )
            self._queue.forget(name)

    def resume(self, name: str, now: datetime, next_at: datetime) -> None:
        """End its pause."""
        with self._database.transaction():
            schedule = self._change(name, "paused", "active", next_at)
            self._database.execute(
                "UPDATE schedule_pauses SET during = tstzrange(lower(during), %s) "
                "WHERE schedule_id = %s AND upper_inf(during)",
                (now, schedule),
            )
            (workflow,) = self._database.execute(
                "SELECT workflow FROM due_schedules WHERE id = %s", (schedule,)
            ).fetchone()
            self._queue.plan(name, workflow, next_at)

    def set_input(self, name: str, **values) -> None:
        """What its runs are given from now on."""
        self._database.execute("UPDATE schedules SET input = input || %s WHERE name = %s", (Jsonb(values), name))

    def due(self, now: datetime) -> list[str]:
        """Whose time has come, the most urgent first."""
        rows = self._database.execute("SELECT name FROM due_schedules WHERE next_at <= %s ORDER BY next_at", (now,))
        return [name for (name,) in rows]

    def _change(self, name: str, old: str, new: str, next_at: datetime | None) -> int:
        row = self._database.execute(
            "UPDATE schedules SET state = %s, next_at = %s WHERE name = %s AND state = %s RETURNING id",
            (new, next_at, name, old),
        ).fetchone()
        if row is None:
            raise NotPossible(f"there is no schedule {name} that is {old}")
        return row[0]
