"""Doing: one file for each way to run a stack, found by its name. There is no list to edit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from envctl.errors import Unsupported

if TYPE_CHECKING:
    from envctl.engines.base import Engine

AUTO = "auto"
_PREFERRED = "compose"


@cache
def names() -> tuple[str, ...]:
    """Every engine there is, sorted."""
    modules = iter_modules([str(PurePath(__file__).parent)])
    return tuple(sorted(module.name for module in modules if not module.ispkg and module.name != "base"))


def create(name: str, environ: Mapping[str, str], address: str | None = None) -> Engine:
    """The engine called `name`; `auto` chooses.

    Args:
        name: As in `--engine`.
        environ: Where the engine's own settings are looked up (`DOCKER_HOST`).
        address: A recorded address, or None for the one those settings give.

    Raises:
        Unsupported: This version has no such engine.
    """
    chosen = _PREFERRED if name == AUTO else name
    if chosen not in names():
        raise Unsupported(
            f'this version of envctl has no engine "{name}"',
            fix=[f"choose one of: {', '.join((AUTO, *names()))}"],
            subject={"engine": name},
            state="nothing was created",
        )
    engine: Engine = importlib.import_module(f"envctl.engines.{chosen}").create(environ, address)
    return engine
