"""Data that was prepared by another version of envctl is used only if this one can reset it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from envctl import kinds
from envctl.kinds.postgres.resets import tracking

# Of what stands inside of databases. Where this fails, raise VERSION and Postgres.baseline_version, and write the new
# digest here: else resets would fail in environments that start from data which an older envctl prepared.
KNOWN = {2: "d63fc0e90e9ce1c9"}


def test_a_change_of_what_is_in_databases_raises_the_version() -> None:
    """What resets do inside of a database belongs to the version that prepared data is kept under."""
    folder = Path(tracking.__file__).parent
    text = b"".join((folder / name).read_bytes() for name in ("baseline.sql", "keys.sql"))
    assert {tracking.VERSION: sha256(text).hexdigest()[:16]} == KNOWN
    assert kinds.get("postgres").baseline_version == tracking.VERSION
