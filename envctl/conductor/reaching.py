"""What is told where the services' address cannot be reached from where we stand."""

from __future__ import annotations

from envctl.errors import ServiceNotReady
from envctl.host import container, knock
from envctl.model import LOOPBACK, Capabilities, EnvironmentSpec, Stack
from envctl.plan.addresses import BY_NAME, NEARER
from envctl.plan.processes import is_process


def explain(error: ServiceNotReady, spec: EnvironmentSpec, stack: Stack, capabilities: Capabilities) -> None:
    """Have the error say so, where it may be the address that is wrong and not the services that are slow.

    It may be where the engine's machine is another one than ours, and not a single connection to a port of these
    services is accepted. Docker accepts them on behalf of services that do not listen yet.
    """
    names = error.subject.get("services")
    if not isinstance(names, list) or (capabilities.local and not container.is_inside()):
        return
    services = [spec.services[name] for name in names if name in spec.services]
    contained = {service.name for service in services if not is_process(service, capabilities)}
    ports = [lease.host_port for lease in stack.ports if lease.service in contained]
    refusals = [knock.refusal(stack.host, port) for port in ports]
    if not refusals or not all(refusals):
        return
    told = f"{stack.host}, where its port {ports[0]} is published, may not be reachable from here ({refusals[0]})"
    error.cause = f"{error.cause}; {told}" if error.cause else told
    moved = spec.publish_address == LOOPBACK and stack.publish_address != capabilities.publish_address
    again = ["if it was brought up from elsewhere, bring it up anew: envctl down, then envctl up"] if moved else []
    error.fix = (*again, _first(capabilities), BY_NAME, *error.fix)


def _first(capabilities: Capabilities) -> str:
    if capabilities.vantage or container.is_inside():
        return NEARER
    return f"let the firewall of the engine's machine accept connections to {capabilities.host}"
