"""A WebSocket server: the bundled one, or the user's own by `image` or `build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from envctl.kinds.base import Kind, Option, needs_container, secret_file, services_of_kind
from envctl.model import Connection, EnvironmentSpec, Native, PortSpec, ServiceSpec, Surroundings


class WebSocket(Kind):
    """A WebSocket server: the bundled one, or the user's own by `image` or `build`."""

    name = "websocket"
    summary = "a WebSocket server (bundled, or your own)"
    ports = (PortSpec("websocket", 3001),)
    options: Mapping[str, Option] = {"path": Option("Path of the WebSocket endpoint.", "/ws", r"/[^\s?#]*")}
    secrets = ("token",)
    memory_bytes = 256 * 1024**2
    bundled = True

    def connection(
        self, service: ServiceSpec, host: str, ports: Mapping[str, int], secrets: Mapping[str, str]
    ) -> Connection:
        """A `ws://` URL; the bundled server's carries the environment's token."""
        port, path, token = ports[service.port().name], service.options["path"], secrets.get("token", "")
        query = f"?token={quote(token, safe='')}" if token and is_bundled(service) else ""
        url = f"ws://{host}:{port}{path}{query}"
        return Connection(
            service.name, self.name, host, port, url, password=token or None, path=path, ports=dict(ports)
        )

    def variables(self, connection: Connection) -> Mapping[str, str]:
        """PATH_ has no use of its own; the token is what a client that builds its own URL needs."""
        return {"TOKEN": connection.password or "", "HTTP_URL": f"http://{connection.host}:{connection.port}"}

    def ecosystem_variables(self, connection: Connection) -> Mapping[str, str]:
        """`WS_URL` and the token it carries."""
        return {"WS_URL": connection.url, "WS_TOKEN": connection.password or ""}

    def container(self, service: ServiceSpec, environment: EnvironmentSpec) -> Mapping[str, object]:
        """The environment's Postgres and Redis, as the bundled server reads them; a user's server gets the same."""
        settings = {"PORT": str(service.port().container_port), "WS_PATH": service.options["path"]}
        settings["WS_TOKEN_FILE"] = secret_file(service.name, "token")
        for postgres in services_of_kind(environment, "postgres")[:1]:
            settings |= {
                "PGHOST": postgres.name,
                "PGPORT": str(postgres.port().container_port),
                "PGUSER": postgres.options["user"],
                "PGDATABASE": postgres.options["database"],
                "PGPASSWORD_FILE": secret_file(postgres.name, "password"),
            }
        for redis in services_of_kind(environment, "redis")[:1]:
            settings |= {
                "REDIS_HOST": redis.name,
                "REDIS_PORT": str(redis.port().container_port),
                "REDIS_DB": redis.options["database"],
                "REDIS_PASSWORD_FILE": secret_file(redis.name, "password"),
            }
        return {"environment": settings, **({"command": list(service.command)} if service.command else {})}

    def native(self, service: ServiceSpec, environment: EnvironmentSpec, around: Surroundings) -> Native:
        """The bundled server, by a Python that has what it needs."""
        if not is_bundled(service) or service.command:
            raise needs_container(service, "its command is one of the image's" if service.command else None)
        mine = around.reach[service.name]
        settings = {
            "PYTHONPATH": ":".join(filter(None, [around.folder, around.program.paths.get("packages", "")])),
            "HOST": around.listen,
            "PORT": str(mine.port),
            "WS_PATH": service.options["path"],
            "WS_TOKEN": mine.password or "",
        }
        for variable, kind in (("DATABASE_URL", "postgres"), ("REDIS_URL", "redis")):
            for backend in services_of_kind(environment, kind)[:1]:
                settings[variable] = around.reach[backend.name].url
        return Native((around.program.paths["python"], "-m", "wsserver"), environment=settings)

    def secret_readers(self, service: ServiceSpec, environment: EnvironmentSpec) -> Sequence[tuple[str, str]]:
        """Its token, and the passwords of the Postgres and Redis it is given."""
        backends = services_of_kind(environment, "postgres")[:1] + services_of_kind(environment, "redis")[:1]
        return [(service.name, "token"), *((backend.name, "password") for backend in backends)]


def is_bundled(service: ServiceSpec) -> bool:
    """Whether the service is the bundled server rather than the user's own."""
    return service.image is None and service.build is None and service.process is None


KIND = WebSocket()
