"""The contract of a kind: what it says about its services. It never does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from envctl.errors import Unsupported
from envctl.model import (
    Attempt,
    Connection,
    EnvironmentSpec,
    Native,
    PortSpec,
    ResetStrategy,
    ServiceSpec,
    Surroundings,
)


@dataclass(frozen=True, slots=True)
class Option:
    """A setting only this kind has.

    Attributes:
        description: One sentence, shown by editors through the JSON Schema.
        default: The value where the user gives none.
        pattern: Regular expression the whole value must match.
    """

    description: str
    default: str
    pattern: str = r".+"


class ProbeFunction(Protocol):
    """One try of a kind's handshake, from the client's side, on the address that is handed out."""

    def __call__(self, connection: Connection, limit_s: float) -> Attempt:
        """Make one try that takes at most `limit_s` seconds. Never raises, sleeps or loops."""
        ...


class Kind:
    """What a service of this kind is. The base class is the generic kind's behaviour: any image.

    Attributes:
        name: Same as the folders `envctl/kinds/NAME`, `compose/NAME` and the file `healthchecks/NAME.*`.
        summary: One line for listings and the schema.
        image: Default image, or None where the user must give one or the kind's folder holds a Dockerfile.
        ports: Default ports, the main one first.
        options: Settings only this kind has.
        secrets: Names of the random secrets each service of this kind gets ("password", "token").
        memory_bytes: Default memory limit.
        bundled: Whether `compose/NAME/` holds a Dockerfile that is built where the user gives no image or build.
        baseline_version: Of the way its `baseline.py` remembers things in its data, raised with each change: data that
            was prepared in another way is not used any more. 0 for a kind that remembers none.
        seeds: How the names of the files end that its `seeding.py` takes; none for those without. Here too, as reading
            a configuration is not to import what puts files into a server.
        initialises: Whether its first start takes long, because it makes what its data will be in: worth being kept
            also where nothing is put into it.
        resets: The ways its data can be put back, the default first; none where there is only one.
    """

    name: str = "generic"
    summary: str = "any other image"
    image: str | None = None
    ports: tuple[PortSpec, ...] = ()
    options: Mapping[str, Option] = {}
    secrets: tuple[str, ...] = ()
    memory_bytes: int = 512 * 1024**2
    bundled: bool = False
    baseline_version: int = 0
    seeds: tuple[str, ...] = ()
    initialises: bool = False
    resets: tuple[ResetStrategy, ...] = ()

    def connection(
        self, service: ServiceSpec, host: str, ports: Mapping[str, int], secrets: Mapping[str, str]
    ) -> Connection:
        """How to reach `service` at `host`.

        Args:
            service: The service.
            host: Host address (outside) or the service's name (inside the stack).
            ports: Port name → port number, on that host.
            secrets: Secret name → value.
        """
        main = ports[service.ports[0].name] if service.ports else None
        return Connection(
            service=service.name,
            kind=self.name,
            host=host,
            port=main,
            url=self._url(service, host, main),
            ports=dict(ports),
        )

    def variables(self, connection: Connection) -> Mapping[str, str]:
        """What the kind adds after the service's prefix: {"USER": …} becomes `POSTGRES_USER` for service `postgres`.

        HOST, PORT and URL are there already.
        """
        return {
            f"{name.upper()}_PORT": str(port) for name, port in connection.ports.items() if len(connection.ports) > 1
        }

    def ecosystem_variables(self, connection: Connection) -> Mapping[str, str]:
        """The names the ecosystem's own tools read (`DATABASE_URL`, `PGHOST`), given by the first service of a kind."""
        return {}

    def container(self, service: ServiceSpec, environment: EnvironmentSpec) -> Mapping[str, object]:
        """What this service needs over its kind's Compose fragment, as Compose keys (`environment`, `command`, …)."""
        return {}

    def outside(self, service: ServiceSpec, environment: EnvironmentSpec, *, filled: bool) -> Mapping[str, object]:
        """What changes in `container` where its data lies outside of the image's volumes, so that a commit holds it.

        Args:
            service: The service.
            environment: The environment it is part of.
            filled: Whether the image holds the data already, and with it another environment's secrets.
        """
        return {}

    def native(self, service: ServiceSpec, environment: EnvironmentSpec, around: Surroundings) -> Native:
        """How this service runs without a container.

        Args:
            service: The service.
            environment: The environment it is part of.
            around: What was found on this machine, and how services reach each other.

        Raises:
            Unsupported: It cannot, because it wants an image; the error says what else can be done.
        """
        raise needs_container(service)

    def data_target(self, service: ServiceSpec) -> str | None:
        """The path inside the container where its data lives, or None for a service without data of its own."""
        return None

    def secret_readers(self, service: ServiceSpec, environment: EnvironmentSpec) -> Sequence[tuple[str, str]]:
        """The secrets its container reads, as (service, secret name); its own by default."""
        return [(service.name, secret) for secret in self.secrets]

    def _url(self, service: ServiceSpec, host: str, port: int | None) -> str:
        if port is None:
            return ""
        scheme = "http" if service.ports[0].name in {"http", "web", "api", "ui"} else "tcp"
        return f"{scheme}://{host}:{port}"


def services_of_kind(environment: EnvironmentSpec, kind: str) -> list[ServiceSpec]:
    """The environment's services of one kind, in the order of the file."""
    return [service for service in environment.services.values() if service.kind == kind]


def needs_container(service: ServiceSpec, why: str | None = None, *ways_out: str) -> Unsupported:
    """The error for a service that an engine without containers cannot run, with the ways out, `ways_out` first."""
    wants = f"image {service.image}" if service.image else "an image that is built"
    return Unsupported(
        f'service "{service.name}" needs a container ({wants}), and the embedded engine has none',
        cause=why,
        fix=[
            *ways_out,
            "run it with Docker: envctl up --engine compose",
            f"or run the repository's own program: services.{service.name}.process",
            f"or leave services.{service.name} out of the file used here (envctl up --file OTHER)",
        ],
        subject={"service": service.name, "image": service.image, "engine": "embedded"},
        state="nothing was created",
    )


def secret_file(service: str, secret: str) -> str:
    """Where a secret is found inside a container."""
    return f"/run/secrets/{service}_{secret}"
