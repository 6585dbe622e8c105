"""Which user a service's process runs as, and where its data is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.host import account
from envctl.host.account import Account


def user_of(definition: Mapping[str, Any]) -> Account | None:
    """User and group the service's process runs as, or None where those are ours.

    Raises:
        UnsafeSetting: We are root, and there is no user for servers.
    """
    return account.unprivileged() if definition.get("unprivileged") else None


def data_folder(state: Path, stack_id: str, name: str, definition: Mapping[str, Any]) -> Path:
    """Where the service's data is, or will be. Ours or a privileged service's: STATE/stacks/STACK/SERVICE/data.

    Raises:
        UnsafeSetting: We are root, and there is no user for servers.
        StateDenied: There is no safe place for another user's data.
    """
    return account.data_folder(state, stack_id, name, unprivileged_service=bool(definition.get("unprivileged")))


def forget_home(data: Path) -> None:
    """Removes the empty folders above a data folder that was removed, up to the run root. Never raises."""
    account.forget_home(data)
