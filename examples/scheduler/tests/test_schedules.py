from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from scheduler.errors import NotFound, NotPossible

APRIL = datetime(2026, 4, 1, 1, tzinfo=UTC)


def test_a_schedule_that_is_triggered_has_its_workflow_run(schedules, queue, one):
    assert schedules.trigger("schedule-1", reason="test") == 101
    assert one("SELECT state, input FROM runs WHERE id = 101") == ("queued", {"source": "schedule-1", "reason": "test"})
    assert one("SELECT count(*) FROM run_steps WHERE run_id = 101") == 4
    assert [queue.take("default") for _ in range(3)] == [100, 101, None]


def test_runs_are_numbered(schedules):
    assert [schedules.trigger("schedule-1") for _ in range(3)] == [101, 102, 103]


def test_what_is_not_there_cannot_be_triggered(schedules, one):
    with pytest.raises(NotFound, match=r"^Scheduled workflow not found for schedule: schedule-9$"):
        schedules.trigger("schedule-9")
    assert one("SELECT max(id) FROM runs") == 100


@pytest.mark.parametrize(("name", "state"), [("reindex", "paused"), ("old-prices", "retired")])
def test_what_rests_cannot_be_triggered(schedules, store, name, state):
    with pytest.raises(NotPossible, match=f"{name} is {state}"):
        schedules.trigger(name)
    assert store.llen("queue:default") == 1


def test_a_new_schedule_is_active_at_once(schedules, queue, one):
    assert schedules.create("schedule-2", "workflow-1", "5 * * * *", APRIL, calendar="working-days") == 9
    assert one("SELECT state, calendar_id FROM schedules WHERE name = 'schedule-2'") == ("active", 1)
    assert queue.due(APRIL) == ["schedule-1", "schedule-2"]


def test_a_schedule_needs_a_workflow(schedules, one, store):
    with pytest.raises(NotFound, match="workflow-99"):
        schedules.create("schedule-2", "workflow-99", "5 * * * *", APRIL)
    assert one("SELECT count(*) FROM schedules") == 8
    assert store.zcard("due") == 5


def test_a_name_is_taken_once(schedules):
    with pytest.raises(psycopg.errors.UniqueViolation):
        schedules.create("schedule-1", "workflow-1", "5 * * * *", APRIL)
    assert schedules.create("schedule-2", "workflow-1", "5 * * * *", APRIL) == 10  # the refused one has used up 9


@pytest.mark.parametrize("cron", ["hourly", "* * * *", "* * * * * *"])
def test_a_schedule_needs_five_fields(schedules, cron):
    with pytest.raises(psycopg.errors.CheckViolation):
        schedules.create("schedule-2", "workflow-1", cron, APRIL)


def test_a_pause_takes_it_out_of_what_is_due(schedules, queue, store, one):
    schedules.pause("schedule-1", "repairs", APRIL)
    assert schedules.due(APRIL) == queue.due(APRIL) == []
    assert not store.exists("schedule:schedule-1")
    assert one("SELECT id, upper_inf(during) FROM schedule_pauses WHERE reason = 'repairs'") == (4, True)


def test_what_rests_cannot_be_paused(schedules):
    with pytest.raises(NotPossible, match="no schedule reindex that is active"):
        schedules.pause("reindex", "again", APRIL)


def test_pauses_of_a_schedule_do_not_overlap(database):
    with pytest.raises(psycopg.errors.ExclusionViolation):
        database.execute(
            "INSERT INTO schedule_pauses (schedule_id, during, reason) VALUES (1, '[2026-02-10T12:00Z,)', 'again')"
        )


def test_what_is_resumed_is_due_again(schedules, queue, one):
    later = APRIL + timedelta(hours=1)
    schedules.resume("reindex", APRIL, later)
    assert schedules.due(later) == queue.due(later) == ["schedule-1", "nightly-backup", "reindex"]
    assert one("SELECT count(*) FROM schedule_pauses WHERE upper_inf(during)") == 1


def test_the_most_urgent_is_first(schedules, queue):
    assert (
        schedules.due(APRIL + timedelta(days=1))
        == queue.due(APRIL + timedelta(days=1))
        == [
            "schedule-1",
            "nightly-backup",
            "invoices-monthly",
            "churn-weekly",
            "digest-daily",
        ]
    )


def test_a_change_is_noted_by_the_triggers(database, schedules, one):
    database.execute("SET scheduler.actor = 'console'")
    schedules.set_input("schedule-1", source="elsewhere")
    assert one(
        "SELECT id, actor, row_before->'input'->>'source', row_after->'input'->>'source' FROM audit.log WHERE id > 28"
    ) == (29, "console", "schedule-1", "elsewhere")
    assert one("SELECT updated_at > '2026-01-06Z' FROM schedules WHERE name = 'schedule-1'")
