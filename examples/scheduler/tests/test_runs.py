from datetime import timedelta

import psycopg
import pytest
from scheduler.errors import NotFound, NotPossible


def test_a_run_from_queue_to_end(runs, queue, one):
    run = runs.start("workflow-1", given={"rows": 7})
    assert (run, queue.take("default"), queue.take("default")) == (101, 100, 101)
    runs.begin(run)
    runs.log(run, "extract starts", "7 rows", "7 rows")
    runs.end(run, "succeeded")
    state, duration = one("SELECT state, duration FROM runs WHERE id = %s", run)
    assert state == "succeeded"
    assert duration > timedelta()
    assert one("SELECT count(*) FROM run_steps WHERE run_id = %s AND state = 'succeeded'", run) == 4
    assert one("SELECT count(*) FROM run_logs WHERE run_id = %s", run) == 3


def test_a_workflow_waits_in_its_own_queue(runs, store):
    assert runs.start("nightly-backup") == 101
    assert store.lrange("queue:heavy", 0, -1) == ["run:101"]
    assert store.lrange("queue:default", 0, -1) == ["run:100"]


def test_an_unknown_workflow_does_not_run(runs, store, one):
    with pytest.raises(NotFound):
        runs.start("workflow-99")
    assert one("SELECT count(*) FROM events") == 198
    assert store.xlen("news") == 2


@pytest.mark.parametrize("run", [1, 99, 1000])
def test_only_what_waits_can_begin(runs, run):
    with pytest.raises(NotPossible):
        runs.begin(run)


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_run_ends_once(runs, one, state):
    runs.end(99, state)
    with pytest.raises(NotPossible):
        runs.end(99, state)
    assert one("SELECT id, kind FROM events WHERE run_id = 99 AND id > 198") == (199, f"run.{state}")


def test_what_a_run_made_is_kept_once(runs, one):
    assert runs.keep(99, "report.csv", b"run;rows\n") == 9
    with pytest.raises(psycopg.errors.UniqueViolation):
        runs.keep(99, "report.csv", b"")
    assert one("SELECT count(*), sum(size) FROM artifacts WHERE run_id = 99") == (1, 9)


def test_the_statistics_are_as_of_the_last_refresh(runs, database, one):
    database.execute("UPDATE runs SET state = 'failed' WHERE workflow_id = 1 AND state = 'succeeded'")
    assert one("SELECT runs, succeeded, failed FROM run_statistics WHERE workflow_id = 1") == (19, 15, 2)
    assert runs.statistics()["workflow-1"] == (19, 0, 17)


def test_a_workflow_enters_the_statistics_with_its_first_run(runs):
    assert "licence-check" not in runs.statistics()
    runs.start("licence-check")
    assert runs.statistics()["licence-check"] == (1, 0, 0)


def test_new_events_go_where_there_is_no_month_yet(runs, one):
    runs.start("workflow-1")
    assert one("SELECT tableoid::regclass::text FROM events WHERE id = 199") == "events_later"


def test_tickets_are_numbered(one):
    assert one("INSERT INTO approvals (run_id, step_id) VALUES (99, 1) RETURNING ticket") == "T-1006"
