"""What comes of schedules: runs of workflows."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from scheduler.errors import NotFound, NotPossible
from scheduler.events import Events
from scheduler.queue import Queue


class Runs:
    """The runs, each of which is told about when it begins and when it ends."""

    def __init__(self, database: psycopg.Connection, queue: Queue, events: Events):
        self._database = database
        self._queue = queue
        self._events = events

    def start(self, workflow: str, *, schedule: int | None = None, given: dict[str, Any] | None = None) -> int:
        """Put a run of the workflow's current version into its queue; the run's number."""
        with self._database.transaction():
            row = self._database.execute(
                """INSERT INTO runs (workflow_id, version_id, schedule_id, input)
                   SELECT id, current_version_id, %s, %s FROM workflows
                    WHERE name = %s AND current_version_id IS NOT NULL
                   RETURNING id, version_id, (SELECT queue FROM workflows WHERE id = workflow_id)""",
                (schedule, Jsonb(given or {}), workflow),
            ).fetchone()
            if row is None:
                raise NotFound(f"workflow {workflow}")
            run, version, queue = row
            self._database.execute(
                "INSERT INTO run_steps (run_id, step_id) SELECT %s, id FROM steps WHERE version_id = %s", (run, version)
            )
            self._queue.push(queue, run)
            self._events.publish(run, "run.queued", workflow=workflow)
        return run

    def begin(self, run: int) -> None:
        """A worker has taken it."""
        self._change(run, "UPDATE runs SET state = 'running', started_at = now() WHERE id = %s AND state = 'queued'")

    def log(self, run: int, *lines: str) -> None:
        """What the worker says of it."""
        with self._database.cursor() as cursor, cursor.copy("COPY run_logs (run_id, line) FROM STDIN") as copy:
            for line in lines:
                copy.write_row((run, line))

    def keep(self, run: int, name: str, content: bytes, media_type: str = "text/plain") -> int:
        """Keep a file that it made; how many bytes that are."""
        row = self._database.execute(
            "INSERT INTO artifacts (run_id, name, media_type, content) VALUES (%s, %s, %s, %s) RETURNING size",
            (run, name, media_type, content),
        ).fetchone()
        return row[0]

    def end(self, run: int, state: str) -> None:
        """It has ended: succeeded, failed or cancelled, and all its steps with it."""
        with self._database.transaction():
            change = "UPDATE runs SET state = %s, finished_at = clock_timestamp() WHERE id = %s AND state = 'running'"
            self._change(run, change, state)
            self._database.execute(
                "UPDATE run_steps SET state = %s, finished_at = now() "
                "WHERE run_id = %s AND state IN ('queued', 'running')",
                (state, run),
            )
            self._events.publish(run, f"run.{state}")

    def forget(self, workflow: str) -> None:
        """Delete the workflow, with its versions, steps, schedules, runs and all that belongs to them."""
        self._database.execute("DELETE FROM workflows WHERE name = %s", (workflow,))

    def statistics(self) -> dict[str, tuple[int, int, int]]:
        """Workflow → runs, succeeded, failed, as of now."""
        self._database.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY run_statistics")
        rows = self._database.execute(
            "SELECT name, runs, succeeded, failed FROM run_statistics JOIN workflows ON workflows.id = workflow_id"
        )
        return {name: tuple(numbers) for name, *numbers in rows}

    def _change(self, run: int, change: str, *values: str) -> None:
        if self._database.execute(change, (*values, run)).rowcount != 1:
            raise NotPossible(f"run {run} is not in a state for this")
