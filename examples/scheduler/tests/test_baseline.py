"""What every test may take for granted. The fixtures `database` and `store` assert most of it before each of them."""

import baseline


def test_there_are_forty_tables_with_twelve_hundred_rows(database):
    assert len(baseline.tables_of(database)) == 40
    assert sum(baseline.rows_of(database).values()) == 1200


def test_the_schedule_has_its_workflow_with_four_steps(database):
    steps = database.execute(
        """SELECT workflows.name, steps.name, kind FROM schedules
             JOIN workflows ON workflows.id = workflow_id JOIN steps ON version_id = current_version_id
            WHERE schedules.name = 'schedule-1' ORDER BY steps.id"""
    ).fetchall()
    assert steps == [
        ("workflow-1", "extract", "sql"),
        ("workflow-1", "transform", "shell"),
        ("workflow-1", "load", "sql"),
        ("workflow-1", "notify", "email"),
    ]


def test_events_are_in_the_partitions_of_their_months(database):
    rows = database.execute("SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [("events_2026_02", 48), ("events_2026_03", 150)]


def test_the_stream_goes_on_after_its_last_message(store):
    last = store.xinfo_stream("news")["last-generated-id"]
    assert store.xadd("news", {"kind": "test"}) > last
    assert store.xlen("news") == 3
