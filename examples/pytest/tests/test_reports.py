"""Tests that only read may share the worker's database, which costs nothing for each of them."""

import psycopg
import pytest


@pytest.fixture(scope="module")
def database(worker_postgres):
    with psycopg.connect(worker_postgres.url, autocommit=True) as connection:
        yield connection


def test_all_items_are_known(database):
    assert [row[0] for row in database.execute("SELECT name FROM items ORDER BY name")] == ["apple", "pear"]


def test_nothing_is_ordered_yet(database):
    assert database.execute("SELECT count(*) FROM orders").fetchone() == (0,)
