"""Doing: one file for each way to run a stack, found by its name. There is no list to edit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.errors import Unsupported

if TYPE_CHECKING:
    from envctl.engines.base import Engine

AUTO = "auto"
"""No engine, but the wish that `envctl.engines.choosing` finds the one that fits."""


@cache
def names() -> tuple[str, ...]:
    """Every engine there is, sorted."""
    files = Path(__file__).parent.glob("*.py")  # pkgutil would say the same, but importing it costs milliseconds
    return tuple(sorted({file.stem for file in files} - {"__init__", "base"}))


def create(name: str, environ: Mapping[str, str], address: str | None = None) -> Engine:
    """The engine called `name`.

    Args:
        name: As in `--engine`, but not `auto`.
        environ: Where the engine's own settings are looked up (`DOCKER_HOST`).
        address: A recorded address, or None for the one those settings give.

    Raises:
        Unsupported: This version has no such engine.
    """
    if name not in names():
        raise Unsupported(
            f'this version of envctl has no engine "{name}"',
            fix=[f"choose one of: {', '.join((AUTO, *names()))}"],
            subject={"engine": name},
            state="nothing was created",
        )
    engine: Engine = importlib.import_module(f"envctl.engines.{name}").create(environ, address)
    return engine
