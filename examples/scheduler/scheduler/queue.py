"""What the workers ask for all the time, in Redis."""

from datetime import datetime

import redis


class Queue:
    """Runs that wait, schedules by their next time, and who is the leader."""

    def __init__(self, store: redis.Redis):
        self._store = store

    def push(self, queue: str, run: int) -> int:
        """Let a run wait for a worker; how many wait now."""
        return self._store.rpush(f"queue:{queue}", f"run:{run}")

    def take(self, queue: str) -> int | None:
        """The run that has waited longest."""
        taken = self._store.lpop(f"queue:{queue}")
        return None if taken is None else int(taken.removeprefix("run:"))

    def plan(self, schedule: str, workflow: str, next_at: datetime) -> None:
        """When a schedule's time comes."""
        with self._store.pipeline() as pipeline:
            pipeline.zadd("due", {schedule: next_at.timestamp()})
            pipeline.hset(f"schedule:{schedule}", mapping={"workflow": workflow, "state": "active"})
            pipeline.execute()

    def forget(self, schedule: str) -> None:
        """Its time does not come."""
        with self._store.pipeline() as pipeline:
            pipeline.zrem("due", schedule)
            pipeline.delete(f"schedule:{schedule}")
            pipeline.execute()

    def due(self, now: datetime) -> list[str]:
        """Whose time has come, the most urgent first."""
        return self._store.zrangebyscore("due", "-inf", now.timestamp())

    def lead(self, worker: str, seconds: int) -> bool:
        """Become the leader, if there is none; for so long."""
        return bool(self._store.set("leader", worker, nx=True, ex=seconds))
