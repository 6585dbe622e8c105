"""From a change of the data to who listens."""

import pytest
from scheduler.events import Events
from scheduler.runs import Runs
from scheduler.schedules import Schedules


@pytest.fixture
def told(channel, database, store, queue):
    """Schedules and runs whose events are told, and the end of the channel that hears them."""
    announcer, listener = channel
    runs = Runs(database, queue, Events(database, store, announcer))
    return Schedules(database, queue, runs), runs, listener


def test_who_listens_hears_of_a_run(told):
    schedules, _, listener = told
    run = schedules.trigger("schedule-1")
    assert listener.next() == {"event": 199, "kind": "run.queued", "run": run, "workflow": "workflow-1"}


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_who_listens_hears_how_it_ended(told, state):
    _, runs, listener = told
    runs.end(99, state)
    assert listener.next() == {"event": 199, "kind": f"run.{state}", "run": 99}


def test_events_come_in_their_order(told, store):
    schedules, runs, listener = told
    first, second = schedules.trigger("schedule-1"), runs.start("churn-report")
    runs.begin(second)
    runs.end(second, "failed")
    assert [(heard["event"], heard["run"]) for heard in (listener.next() for _ in range(3))] == [
        (199, first),
        (200, second),
        (201, second),
    ]
    assert store.xlen("news") == 5
