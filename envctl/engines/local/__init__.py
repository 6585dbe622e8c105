"""Services as plain processes of this machine: started, kept, found again and ended without any daemon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envctl.engines.base import Engine


def with_processes(
    engine: Engine, state: Path, environ: Mapping[str, str], *, stack_id: str = "", wanted: bool = False
) -> Engine:
    """The engine, joined by the processes of this machine where it has not got them by itself and they are needed.

    Args:
        engine: The engine.
        state: The state directory.
        environ: The caller's variables.
        stack_id: The stack it is for; "" for all of them.
        wanted: Whether the stack is to have processes; else it only matters whether there are any.
    """
    if not (wanted or (state / "stacks" / stack_id).is_dir()) or engine.runs_processes:
        return engine
    from envctl.engines.local.beside import Beside
    from envctl.engines.local.processes import Processes

    return Beside(engine, Processes(state, environ))
