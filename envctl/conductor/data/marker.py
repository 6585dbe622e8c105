"""A file beside the registry that says that an environment is dirty: a registry that was lost must not make it clean.

It is there before the data is half changed, and goes after it is whole again. Where the two disagree, because of a kill
in between, the registry is right; it is asked only when the registry's row is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.host import files, paths

NAME = "dirty.json"
"""In the environment's own folder."""

KEY = "dirty"
"""Of the details: what was begun, by whom, and in which services."""


def write(state: Path, name: str, stack_id: str, details: Mapping[str, Any]) -> None:
    """Write it, so that it survives a power failure.

    Args:
        state: The state directory.
        name: The environment's name.
        stack_id: Of which stack the data is.
        details: What the registry says of the environment while it is dirty.

    Raises:
        CannotWrite: It cannot be written.
    """
    path = _path(state, name)
    try:
        paths.make_private(path.parent)
    except OSError as error:
        raise files.cannot_write(path, error) from error
    files.write_atomic(path, json.dumps({"stack": stack_id, "details": details}, default=dict))


def remove(state: Path, name: str) -> None:
    """Remove it; again does nothing. Raises CannotWrite."""
    path = _path(state, name)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise files.cannot_write(path, error) from error


def read(state: Path, name: str, stack_id: str) -> Mapping[str, Any] | None:
    """What the registry said of the stack when it became dirty; None where it is not. What cannot be read is dirty."""
    try:
        known = json.loads(_path(state, name).read_bytes())
        details: dict[str, Any] = known["details"]
        return details if known["stack"] == stack_id else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {KEY: {}}


def _path(state: Path, name: str) -> Path:
    return paths.environment_dir(state, name) / NAME
