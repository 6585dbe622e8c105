"""All of one environment removed, by what the registry and labels tell of it: its configuration may be gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envctl import engines
from envctl.conductor import teardown
from envctl.conductor.data import orphans
from envctl.engines.local import with_processes
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.report import Removal


def remove(state: Path, registry: Registry, found: EnvironmentRecord, environ: Mapping[str, str]) -> Removal:
    """Remove it, and what makers of its data have left on its engine; data of `persist: true` stays.

    Args:
        state: The state directory.
        registry: The registry.
        found: The environment, as it was found under its lock, which the caller holds.
        environ: The caller's variables.

    Raises:
        EnvctlError: Not all could be removed.
    """
    engine = engines.create(found.stack.engine, environ, found.stack.endpoint)
    engine = with_processes(engine, state, environ, stack_id=found.stack.id)
    removal = teardown.remove(state, registry, found, engine, purge=False, keep_ports=False)
    orphans.clear_after(found, environ, engine)
    return removal
