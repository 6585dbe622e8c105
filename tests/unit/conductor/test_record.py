"""What is written down of a ready environment, read back by commands that know nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import stand_in as sample

from envctl.conductor import record
from envctl.host import clock, owner
from envctl.host.registry import EnvironmentRecord
from envctl.model import (
    Connection,
    EnvironmentSpec,
    EnvironmentState,
    ExecReady,
    HttpReady,
    LogReady,
    PortSpec,
    Ready,
    ServiceSpec,
    ServiceState,
    TcpReady,
)

CHECKS = [
    None,
    TcpReady("main"),
    HttpReady("main", "/livez"),
    LogReady("ready to accept"),
    ExecReady(("pg_isready", "-q")),
]


def _record(check: Ready | None = None) -> EnvironmentRecord:
    """The record of an environment with one service, after a journey through the registry's JSON."""
    service = ServiceSpec(name="box", kind="generic", ready=check, ports=(PortSpec("main", 8080),))
    spec = EnvironmentSpec(project="shop", services={"box": service})
    reach = {"box": Connection("box", "generic", "127.0.0.1", 20431, "tcp://127.0.0.1:20431", ports={"main": 20431})}
    known = record.details(
        spec, reach, {"BOX_PORT": "20431"}, engine_version="29.0", ready_ms={"box": 7}, timings_ms={"total": 9}
    )
    now = clock.now()
    return EnvironmentRecord(
        identity=sample.identity("main"),
        state=EnvironmentState.READY,
        stack=sample.found("main", 20431).stack,
        config_file=None,
        created_at=now,
        expires_at=None,
        last_used_at=now,
        owner=owner.current(),
        details=json.loads(json.dumps(known)),
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: type(check).__name__)
def test_checks_are_read_back(check: Ready | None) -> None:
    """Each way to be ready is the same after JSON, so that `status` probes as `up` did."""
    (service,) = record.services(_record(check)).values()
    assert service.ready == check
    assert service.ports == (PortSpec("main", 8080),)


def test_connections_are_read_back() -> None:
    """What was handed out is what is shown, whatever the configuration says by now."""
    (connection,) = record.connections(_record()).values()
    assert (connection.host, connection.port, connection.ports) == ("127.0.0.1", 20431, {"main": 20431})


def test_report_tells_what_was_recorded() -> None:
    """Without a look at the engine a report tells the state, times and variables of the `up` that made it."""
    told = record.report(_record())
    assert told.state is EnvironmentState.READY
    assert told.variables == {"BOX_PORT": "20431"}
    assert told.timings_ms == {"total": 9}
    assert told.services["box"].ready_ms == 7
    assert told.created_at.endswith("Z")


def test_report_tells_what_was_seen() -> None:
    """With a look at the engine it tells that."""
    told = record.report(
        _record(), state=EnvironmentState.STOPPED, states={"box": (ServiceState.EXITED, "exit code 1")}
    )
    assert told.state is EnvironmentState.STOPPED
    assert (told.services["box"].state, told.services["box"].detail) == (ServiceState.EXITED, "exit code 1")


def test_environment_that_was_never_ready() -> None:
    """A record without details is told without services."""
    told = record.report(replace(_record(), details={}, state=EnvironmentState.CREATING))
    assert told.services == {}
    assert told.state is EnvironmentState.CREATING


def test_passwords_do_not_show() -> None:
    """The record's repr holds no detail: passwords are among them."""
    assert "20431" not in repr(_record()).split("stack=")[0]
    assert "p" * 32 not in repr(_record())
