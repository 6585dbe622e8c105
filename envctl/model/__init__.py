"""The nouns: what is asked for, whose it is, what is reserved, what runs, and how to reach it.

Everything here is a frozen value. No clock, disk, network, process or environment variable is read in this room.
Quantities carry their unit in the name; secrets are masked in every `repr`.

A name is loaded from its file when it is first used: making a dataclass costs Python almost a millisecond, and the
commands that only print what is recorded need few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envctl.model.address import LOOPBACK
    from envctl.model.capabilities import Capabilities
    from envctl.model.connection import Connection
    from envctl.model.data import (
        DataCommand,
        Prepared,
        ResetReport,
        ResetStrategy,
        SeedFile,
        SeedStep,
    )
    from envctl.model.identity import BranchSource, Checkout, Identity, Owner
    from envctl.model.observed import Attempt, Death, Observed, ObservedService, Readiness, Verdict
    from envctl.model.program import DATA, Native, Program, Surroundings
    from envctl.model.removed import Found, Removed
    from envctl.model.session import Session, SessionRequest
    from envctl.model.spec import (
        BuildSpec,
        EngineName,
        EnvironmentSpec,
        ExecReady,
        HttpReady,
        LogReady,
        PortSpec,
        ProcessSpec,
        PullPolicy,
        Ready,
        ServiceSpec,
        TcpReady,
        VolumeSpec,
    )
    from envctl.model.stack import PortLease, Stack
    from envctl.model.states import EnvironmentState, ServiceState

__all__ = [
    "DATA",
    "LOOPBACK",
    "Attempt",
    "BranchSource",
    "BuildSpec",
    "Capabilities",
    "Checkout",
    "Connection",
    "DataCommand",
    "Death",
    "EngineName",
    "EnvironmentSpec",
    "EnvironmentState",
    "ExecReady",
    "Found",
    "HttpReady",
    "Identity",
    "LogReady",
    "Native",
    "Observed",
    "ObservedService",
    "Owner",
    "PortLease",
    "PortSpec",
    "Prepared",
    "ProcessSpec",
    "Program",
    "PullPolicy",
    "Readiness",
    "Ready",
    "Removed",
    "ResetReport",
    "ResetStrategy",
    "SeedFile",
    "SeedStep",
    "ServiceSpec",
    "ServiceState",
    "Session",
    "SessionRequest",
    "Stack",
    "Surroundings",
    "TcpReady",
    "Verdict",
    "VolumeSpec",
]

_HOMES = {
    "address": ("LOOPBACK",),
    "capabilities": ("Capabilities",),
    "connection": ("Connection",),
    "data": ("DataCommand", "Prepared", "ResetReport", "ResetStrategy", "SeedFile", "SeedStep"),
    "identity": ("BranchSource", "Checkout", "Identity", "Owner"),
    "observed": ("Attempt", "Death", "Observed", "ObservedService", "Readiness", "Verdict"),
    "program": ("DATA", "Native", "Program", "Surroundings"),
    "removed": ("Found", "Removed"),
    "session": ("Session", "SessionRequest"),
    "spec": (
        *("BuildSpec", "EngineName", "EnvironmentSpec", "ExecReady", "HttpReady", "LogReady", "PortSpec", "Ready"),
        *("ProcessSpec", "PullPolicy", "ServiceSpec", "TcpReady", "VolumeSpec"),
    ),
    "stack": ("PortLease", "Stack"),
    "states": ("EnvironmentState", "ServiceState"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """The noun called `name`, from its file."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"envctl.model.{_HOME[name]}"), name)
    globals()[name] = value
    return value
