"""Runs workflows at their times: schedules and runs in Postgres, queues in Redis, news over a WebSocket."""
