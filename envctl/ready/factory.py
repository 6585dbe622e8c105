"""Which probe a service gets."""

from __future__ import annotations

from typing import assert_never

from envctl import kinds
from envctl.model import Connection, ExecReady, HttpReady, LogReady, Ready, ServiceSpec, TcpReady
from envctl.ready.base import Probe, Target
from envctl.ready.handshake import Both, Handshake, Running


def probe_for(service: ServiceSpec, connection: Connection, target: Target, *, settle_s: float = 0.0) -> Probe:
    """The probe that proves `service` ready on the address that is handed out.

    A kind with a handshake gets it; the user's own check comes before it, not in its place, because only the
    handshake proves whose server answers. A service of any other image gets the user's check, else TCP on its main
    port, else nothing beyond running.

    Args:
        service: The service.
        connection: How clients reach it.
        target: The engine, for checks of the log or inside the service.
        settle_s: How long a service of which nothing else can be proven must have run, seconds.

    Raises:
        KeyError: The user's check names a port the service does not have.
    """
    function = kinds.probe(service.kind)
    handshake = Handshake(connection, function) if function else None
    if service.ready is None:
        return handshake or _default(connection, settle_s)
    own = _own(service.ready, service, connection, target)
    return Both(own, handshake) if handshake else own


def _default(connection: Connection, settle_s: float) -> Probe:
    from envctl.ready.tcp import TcpProbe

    return Running(settle_s) if connection.port is None else TcpProbe(connection.host, connection.port)


def _own(check: Ready, service: ServiceSpec, connection: Connection, target: Target) -> Probe:
    match check:
        case HttpReady():
            from envctl.ready.http import HttpProbe

            return HttpProbe(connection.host, _port(check.port, service, connection), check.path, check.status)
        case TcpReady():
            from envctl.ready.tcp import TcpProbe

            port = _port(check.port, service, connection)
            return TcpProbe(connection.host, port, check.send, check.expect)
        case LogReady():
            from envctl.ready.log import LogProbe

            return LogProbe(service.name, check.pattern, check.count, target)
        case ExecReady():
            from envctl.ready.exec import ExecProbe

            return ExecProbe(service.name, check.command, target)
        case _:
            assert_never(check)


def _port(name: str | None, service: ServiceSpec, connection: Connection) -> int:
    return connection.ports[service.port(name).name]
