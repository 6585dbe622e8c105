"""An environment that is recorded as ready, without an engine: the real registry, filled as `up` fills it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envctl.conductor import record
from envctl.host.config import default_spec
from envctl.host.git import find_checkout
from envctl.host.paths import ensure_state_dir
from envctl.host.registry import Registry
from envctl.model import Connection, EnvironmentState
from envctl.plan import naming
from envctl.plan.variables import variables


@pytest.fixture
def recorded_state(tmp_path: Path) -> Path:
    """A folder outside of git whose environment is recorded in `state/` below it."""
    spec = default_spec()
    identity = naming.identify(find_checkout(tmp_path, {}), None)
    reach = {
        name: Connection(name, service.kind, "127.0.0.1", 20000 + number, f"tcp://127.0.0.1:{20000 + number}")
        for number, (name, service) in enumerate(spec.services.items())
    }
    with Registry.open(ensure_state_dir(tmp_path / "state")) as registry:
        registry.mark_repaired()  # a lost registry is rebuilt by asking the engine, which costs imports
        registry.claim(identity, engine="compose", endpoint="unix:///nowhere.sock")
        known = variables(identity, "compose", spec, reach)
        ready = record.details(spec, reach, known, engine_version="29.0", ready_ms={}, timings_ms={})
        registry.set_state(identity.name, EnvironmentState.READY, details=ready)
    return tmp_path
