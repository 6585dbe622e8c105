"""Keeping what a service's process has written, for other environments to start from."""

from __future__ import annotations

from pathlib import Path

from envctl import kinds
from envctl.engines.local import account, removal
from envctl.engines.local.records import ProcessRecord
from envctl.errors import DataFailed
from envctl.model import Stack


def capture(state: Path, stack: Stack, record: ProcessRecord | None, service: str, folder: Path) -> tuple[str, int]:
    """End a service in an orderly way and pack its data folder.

    Args:
        state: The state directory.
        stack: The stack.
        record: The service as it is, or None where there is no such process.
        service: Its name.
        folder: Where the file goes.

    Returns:
        The file's absolute path, and what it takes on disk in bytes.

    Raises:
        DataFailed: There is no such service, it has no data of its own, or its data is not whole.
        Leftovers: It cannot be ended.
        CannotWrite: There is no room.
    """
    runner = kinds.native(record.label("kind")) if record else None
    if record is None or runner is None or not record.definition.get("data"):
        raise DataFailed(
            f'the data of service "{service}" cannot be kept',
            cause="it is not up" if record is None else "it has no data that envctl knows of",
            fix=["envctl status shows what is up", "or do without prepared data: `snapshots: false` in envctl.yaml"],
            subject={"service": service},
        )
    removal.end([record], intact=lambda _: True)
    target = folder.absolute() / f"{service}.data"
    data = account.data_folder(state, stack.id, service, record.definition)
    return str(target), runner.pack(record.definition, data, target, account.user_of(record.definition))
