"""The registry: what envctl has promised on this machine. One SQLite file, one short transaction per operation."""

from envctl.host.port_range import PORT_RANGE
from envctl.host.registry.lending import LentNumber
from envctl.host.registry.ports import WantedPort, port_scope
from envctl.host.registry.records import EnvironmentRecord
from envctl.host.registry.registry import Registry

__all__ = ["PORT_RANGE", "EnvironmentRecord", "LentNumber", "Registry", "WantedPort", "port_scope"]
