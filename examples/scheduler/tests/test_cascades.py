"""What a change of one table does to the others."""

import baseline
import psycopg
import pytest


def changed(database):
    """Table → how many rows it has more or fewer than the fixtures brought."""
    rows = baseline.rows_of(database)
    return {table: rows[table] - count for table, count in baseline.ROWS.items() if rows[table] != count}


def test_a_workflow_takes_all_with_it(runs, database):
    runs.forget("workflow-1")
    assert changed(database) == {
        "artifacts": -10,
        "audit.log": 2,
        "events": -37,
        "notification_rules": -1,
        "run_attempts": -6,
        "run_logs": -65,
        "run_steps": -63,
        "runs": -19,
        "schedule_pauses": -1,
        "schedules": -1,
        "step_edges": -6,
        "step_parameters": -12,
        "steps": -8,
        "webhook_deliveries": -2,
        "workflow_versions": -2,
        "workflows": -1,
    }


def test_all_that_organisations_have_goes_with_them(database):
    database.execute("DELETE FROM organisations")
    assert {table for table, rows in baseline.rows_of(database).items() if rows} == {
        "audit.actors",
        "audit.log",
        "audit.log_archive",
        "audit.retention",
        "migrations",
        "permissions",
        "queues",
        "role_permissions",
        "roles",
        "workers",
    }


def test_who_goes_leaves_the_workflows(database, one):
    database.execute("DELETE FROM users WHERE email_key = 'ada.lovelace@acme.example'")
    assert one("SELECT count(*) FROM workflow_versions WHERE author_id IS NULL") == 3
    assert changed(database).keys() == {
        "api_tokens",
        "notification_rules",
        "team_members",
        "user_roles",
        "user_sessions",
        "users",
    }


def test_a_role_has_its_new_name_everywhere(database, one):
    database.execute("UPDATE roles SET name = 'owner' WHERE name = 'admin'")
    assert one("SELECT count(*) FROM user_roles WHERE role = 'owner'") == 3
    assert one("SELECT count(*) FROM role_permissions WHERE role = 'owner'") == 8


def test_a_role_that_somebody_has_stays(database):
    with pytest.raises(psycopg.errors.RestrictViolation):
        database.execute("DELETE FROM roles WHERE name = 'viewer'")


def test_a_calendar_is_no_part_of_its_schedules(database, one):
    database.execute("DELETE FROM calendars WHERE name = 'working-days'")
    assert one("SELECT count(*) FROM schedules WHERE calendar_id IS NULL") == 5
    assert changed(database) == {"calendars": -1, "calendar_days": -9, "audit.log": 2}


def test_truncated_runs_take_what_is_theirs(database, one):
    database.execute("TRUNCATE runs CASCADE")
    assert sorted(table for table, rows in baseline.rows_of(database).items() if rows == 0) == [
        "approvals",
        "artifacts",
        "events",
        "run_attempts",
        "run_logs",
        "run_steps",
        "runs",
        "webhook_deliveries",
    ]
    assert one("INSERT INTO runs (workflow_id, version_id) VALUES (1, 2) RETURNING id") == 101


def test_truncated_runs_are_numbered_anew_if_asked(database, one):
    database.execute("TRUNCATE runs RESTART IDENTITY CASCADE")
    assert one("INSERT INTO runs (workflow_id, version_id) VALUES (1, 2) RETURNING id") == 1
    assert one("INSERT INTO approvals (run_id, step_id) VALUES (1, 1) RETURNING ticket") == "T-1000"


def test_one_partition_alone_is_emptied(database):
    database.execute("TRUNCATE events_2026_02")
    assert changed(database) == {"events": -48}


def test_workflow_and_version_may_come_in_any_order(database, one):
    with database.transaction():
        database.execute("INSERT INTO workflows (project_id, name, current_version_id) VALUES (1, 'workflow-2', 16)")
        database.execute("INSERT INTO workflow_versions (workflow_id, number) VALUES (11, 1)")
    assert one("SELECT current_version_id FROM workflows WHERE name = 'workflow-2'") == 16


def test_a_current_version_must_be_there_at_the_end(database):
    with pytest.raises(psycopg.errors.ForeignKeyViolation), database.transaction():
        database.execute("UPDATE workflows SET current_version_id = 99 WHERE name = 'workflow-1'")


def test_the_log_shows_what_was_archived_too(database, one):
    database.execute(
        """WITH old AS (DELETE FROM ONLY audit.log WHERE id <= 10 RETURNING *)
           INSERT INTO audit.log_archive SELECT * FROM old"""
    )
    assert one("SELECT count(*) FROM audit.log") == 32
    assert changed(database) == {"audit.log": -10, "audit.log_archive": 10}


def test_an_address_is_known_whatever_its_case(database):
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute(
            "INSERT INTO users (organisation_id, email, name) VALUES (1, 'ADA.Lovelace@acme.EXAMPLE', 'Ada')"
        )


def test_who_brings_a_number_does_not_use_up_one(one):
    statement = "INSERT INTO users ({}organisation_id, email, name) VALUES ({}1, '{}@acme.example', 'New') RETURNING id"
    assert one(statement.format("id, ", "500, ", "one")) == 500
    assert one(statement.format("", "", "two")) == 13


def test_who_may_not_pass_by_does_not_see_the_secrets_of_production(database, one):
    with database.transaction(force_rollback=True):
        database.execute("CREATE ROLE onlooker")
        database.execute("GRANT SELECT ON secrets, stages TO onlooker")
        database.execute("SET LOCAL ROLE onlooker")
        assert one("SELECT count(*) FROM secrets") == 4
    assert one("SELECT count(*) FROM secrets") == 8
