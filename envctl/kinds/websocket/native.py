"""The bundled WebSocket server without a container: this very Python runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.errors import EngineNotInstalled
from envctl.host import programs
from envctl.model import Program

_NEEDED = ("websockets", "psycopg", "redis")


def find(options: Mapping[str, str], environ: Mapping[str, str]) -> Program:  # noqa: ARG001 - the contract's
    """This Python, if it has what the server imports.

    Raises:
        EngineNotInstalled: It lacks something.
    """
    if missing := [name for name in _NEEDED if not _has(name)]:
        raise EngineNotInstalled(
            "the bundled WebSocket server cannot run without a container",
            cause=f"{sys.executable} has no {', '.join(missing)}",
            fix=["pip install 'envctl[embedded]'", "or use containers: `--engine compose`"],
            subject={"missing": missing},
        )
    version = ".".join(map(str, sys.version_info[:3]))
    folder = os.path.dirname(sys.executable)  # noqa: PTH120 - on the fast path
    extra = {"packages": environ["PYTHONPATH"]} if environ.get("PYTHONPATH") else {}
    return Program("Python", version, folder, {"python": sys.executable, **extra})


def _has(name: str) -> bool:
    if programs.in_wheels(f"{name}/__init__.py"):
        return True
    from importlib.util import find_spec  # knows other ways of installing, and takes ten times as long

    return find_spec(name) is not None


def prepare(
    definition: Mapping[str, Any],
    folder: Path,
    data: Path | None,
    secrets: Mapping[str, str],
    account: tuple[int, int] | None,
) -> None:
    """Nothing: it has no data."""
