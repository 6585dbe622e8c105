"""What makers of prepared data that were killed have left: files without a mark, images that no store knows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from envctl.errors import EnvctlError, Interrupted
from envctl.host.prepared import Store

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.host.registry import EnvironmentRecord

MAKER = "prepare-"
"""The names of makers begin like this."""


def clear_after(found: EnvironmentRecord, environ: Mapping[str, str], engine: Engine) -> None:
    """Clear up after an environment that was removed, if it was a maker. Housekeeping: no failure of it is told."""
    if found.identity.label.startswith(MAKER):
        clear(environ, engine)


def clear(environ: Mapping[str, str], engine: Engine) -> None:
    """Remove what no store knows and nobody is just about to write down. No failure of it is told.

    Args:
        environ: The caller's variables.
        engine: Where.
    """
    store = Store(environ)
    store.clear()
    try:
        with suppress(OSError):
            engine.sweep(store.root, store.is_abandoned)
    except Interrupted:
        raise
    except EnvctlError:
        return  # the next one tries again
