"""Redis (or Valkey), by the contract of the official images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import join
from urllib.parse import quote

from envctl.kinds.base import Kind, Option, needs_container, secret_file
from envctl.model import DATA, Connection, EnvironmentSpec, Native, PortSpec, ServiceSpec, Surroundings

LIVE = 128
"""Logical databases 0 to 127 are the tests': the environment's own, and one for each worker."""

DATABASES = 3 * LIVE + 2
"""So many a server is started with; `layout` says what the others are for. Empty ones cost next to nothing."""

_OFFICIAL = r"(?:docker\.io/)?(?:library/|valkey/)?(?:redis|valkey)(?::[\w.-]+)?"
_OUTSIDE = "/var/lib/envctl/redis"


class Redis(Kind):
    """Redis (or Valkey), by the contract of the official images."""

    name = "redis"
    summary = "Redis or Valkey"
    image = "redis:8"
    ports = (PortSpec("redis", 6379),)
    options: Mapping[str, Option] = {
        "database": Option("Number of the logical database in the URL, 0 to 127.", "0", r"\d{1,2}|1[01]\d|12[0-7]"),
    }
    secrets = ("password",)
    baseline_version = 1
    seeds = (".json", ".yaml", ".yml")
    memory_bytes = 512 * 1024**2

    def connection(
        self, service: ServiceSpec, host: str, ports: Mapping[str, int], secrets: Mapping[str, str]
    ) -> Connection:
        """A `redis://` URL with the password of the default user."""
        port, password, database = ports[service.port().name], secrets.get("password", ""), service.options["database"]
        url = f"redis://:{quote(password, safe='')}@{host}:{port}/{database}"
        return Connection(
            service.name, self.name, host, port, url, password=password, database=database, ports=dict(ports)
        )

    def variables(self, connection: Connection) -> Mapping[str, str]:
        """PASSWORD and DB."""
        return {"PASSWORD": connection.password or "", "DB": connection.database or "0"}

    def ecosystem_variables(self, connection: Connection) -> Mapping[str, str]:
        """`REDIS_URL` is what clients and frameworks read."""
        return {"REDIS_URL": connection.url}

    def container(self, service: ServiceSpec, environment: EnvironmentSpec) -> Mapping[str, object]:
        """The password goes in by standard input: neither the argument list nor the inspected container shows it.

        The image's own entrypoint is run again, so that the server does not stay root.
        """
        server = "valkey-server" if "valkey" in (service.image or "") else "redis-server"
        durable = [] if not service.persist else ["--appendonly", "yes"]
        arguments = ["--save", "", *durable, "--databases", str(DATABASES), *(service.command or ())]
        script = (
            f"exec docker-entrypoint.sh {server} {join(arguments)} - <<END\n"
            f'requirepass "$(cat {secret_file(service.name, "password")})"\nEND\n'
        )
        # The variable is for the check in healthchecks/redis.sh.
        return {
            "environment": {"REDIS_PASSWORD_FILE": secret_file(service.name, "password")},
            "command": ["sh", "-c", script],
        }

    def outside(self, service: ServiceSpec, environment: EnvironmentSpec, *, filled: bool) -> Mapping[str, object]:
        """The official images give the server its working folder, whichever it is, and it keeps its data there."""
        return {"working_dir": _OUTSIDE}

    def native(self, service: ServiceSpec, environment: EnvironmentSpec, around: Surroundings) -> Native:
        """The server with its configuration on standard input: the password stands in no argument.

        Any official image of Redis or Valkey is answered by what is found here: they speak one protocol, and the
        version is told by `envctl doctor`.
        """
        if not re.fullmatch(_OFFICIAL, service.image or self.image):
            raise needs_container(service, f"what serves Redis here is {around.program.name} {around.program.version}")
        mine = around.reach[service.name]
        lines = [f"bind {around.listen}", f"port {mine.port}", f"dir {DATA}", f"requirepass {mine.password}", 'save ""']
        lines += [f"databases {DATABASES}", f"appendonly {'yes' if service.persist else 'no'}", "daemonize no"]
        return Native(
            (around.program.paths["server"], *(service.command or ()), "-"),
            stdin="\n".join(lines) + "\n",
            client={"REDIS_HOST": mine.host, "REDIS_PORT": str(mine.port)},
            data=True,
            unprivileged=True,
        )

    def data_target(self, service: ServiceSpec) -> str:
        """The official images' VOLUME."""
        return "/data"


KIND = Redis()
