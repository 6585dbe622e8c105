"""Applies what is not yet applied of db/migrations, in order; each file in a transaction of its own."""

import os
import sys
from pathlib import Path

import psycopg

FOLDER = Path(__file__).with_name("migrations")
TABLE = "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(TABLE)
        applied = {name for (name,) in database.execute("SELECT name FROM migrations")}
        for file in sorted(FOLDER.glob("*.sql")):
            if file.name not in applied:
                apply(database, file)


def apply(database: psycopg.Connection, file: Path) -> None:
    with database.transaction():
        try:
            database.execute(file.read_text("utf-8"))
        except psycopg.Error as error:
            sys.exit(f"{file.name}: {error}")
        database.execute("INSERT INTO migrations (name) VALUES (%s)", (file.name,))
    print(f"applied {file.name}")


if __name__ == "__main__":
    main()
