"""Placing orders."""

from pathlib import Path

import psycopg
import redis

SCHEMA = Path(__file__).with_name("schema.sql")


class SoldOut(Exception):
    """There are not enough of an item."""


class Shop:
    """The shop on its two stores."""

    def __init__(self, database: psycopg.Connection, counters: redis.Redis):
        self._database = database
        self._counters = counters

    def place(self, item: str, quantity: int) -> int:
        """Order some of an item; the order's number. Raises SoldOut."""
        try:
            with self._database.transaction():
                self._database.execute("UPDATE items SET stock = stock - %s WHERE name = %s", (quantity, item))
                row = self._database.execute(
                    "INSERT INTO orders (item, quantity) VALUES (%s, %s) RETURNING id", (item, quantity)
                ).fetchone()
        except psycopg.errors.CheckViolation:
            raise SoldOut(item) from None
        self._counters.incrby(f"sold:{item}", quantity)
        return row[0]

    def stock(self, item: str) -> int:
        """How many are left."""
        return self._database.execute("SELECT stock FROM items WHERE name = %s", (item,)).fetchone()[0]

    def sold(self, item: str) -> int:
        """How many were sold, without asking the database."""
        return int(self._counters.get(f"sold:{item}") or 0)
