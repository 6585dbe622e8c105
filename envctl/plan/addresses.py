"""Which address clients use, and on which one ports are published."""

from __future__ import annotations

from envctl.errors import AddressUnreachable
from envctl.model import LOOPBACK, Capabilities, EnvironmentSpec

NEARER = (
    "run the job in the network of the engine's machine (docker run --network host), or in a bridge network of the "
    "engine that may connect to that machine"
)
BY_NAME = (
    "or name an address of the engine's machine that is reached from here: publish_address in envctl.yaml, or "
    "DOCKER_HOST=tcp://ADDRESS:PORT"
)


def addresses(spec: EnvironmentSpec, capabilities: Capabilities) -> tuple[str, str]:
    """The address clients use, and the one ports are published on.

    Loopback, unless the user chose otherwise. A remote engine's loopback is of no use to us: there it is the address
    at which the engine itself is reached, and no other. In a container of the engine it is what the engine said.

    Raises:
        AddressUnreachable: There is none that clients here would reach.
    """
    everywhere = spec.publish_address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    if spec.publish_address != LOOPBACK and not everywhere:
        return spec.publish_address, spec.publish_address
    if capabilities.obstacle:
        raise AddressUnreachable(
            "no port that the Docker engine publishes can be reached from here",
            cause=f"{capabilities.vantage}; {capabilities.obstacle}",
            fix=(NEARER, BY_NAME),
            state="nothing was created",
        )
    return capabilities.host, spec.publish_address if everywhere else capabilities.publish_address
