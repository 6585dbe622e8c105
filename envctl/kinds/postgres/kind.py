"""PostgreSQL, by the contract of the official image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from envctl.kinds.base import Kind, Option, needs_container, secret_file
from envctl.model import DATA, Connection, EnvironmentSpec, Native, PortSpec, ServiceSpec, Surroundings

_NAME = r"[A-Za-z_][A-Za-z0-9_$-]{0,62}"
_USER = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"  # initdb takes no dollar sign for its superuser

# Nothing in a throw-away database is worth a disk flush; with `persist: true` the server's own defaults hold.
_THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SETTINGS = ("shared_buffers=32MB", "max_connections=200")

_OUTSIDE = "/var/lib/envctl/postgres"
# A server without network reads the statement from its standard input: the password is in no argument and in no log.
_START_PREPARED = r"""
password=$(cat "$POSTGRES_PASSWORD_FILE") || exit
printf 'ALTER ROLE "%s" PASSWORD '"'%s';\n\n" "$POSTGRES_USER" "$password" |
    docker-entrypoint.sh postgres --single -j -D "$PGDATA" -c exit_on_error=on -c fsync=off -c log_statement=none \
    -c log_min_error_statement=panic -c log_checkpoints=off template1 >/dev/null || exit
exec docker-entrypoint.sh "$0" "$@"
"""


class Postgres(Kind):
    """PostgreSQL, by the contract of the official image."""

    name = "postgres"
    summary = "PostgreSQL"
    image = "postgres:18"
    ports = (PortSpec("postgres", 5432),)
    options: Mapping[str, Option] = {
        "database": Option("Name of the database that is created.", "app", _NAME),
        "user": Option("Name of the database's owner, a superuser.", "app", _USER),
    }
    secrets = ("password",)
    baseline_version = 2
    memory_bytes = 1024**3
    seeds = (".sql", ".csv")
    initialises = True
    resets = ("auto", "tables", "template")

    def connection(
        self, service: ServiceSpec, host: str, ports: Mapping[str, int], secrets: Mapping[str, str]
    ) -> Connection:
        """A `postgresql://` URL every driver accepts."""
        port, password = ports[service.port().name], secrets.get("password", "")
        user, database = service.options["user"], service.options["database"]
        url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(database, safe='')}"
        return Connection(
            service.name, self.name, host, port, url, user=user, password=password, database=database, ports=dict(ports)
        )

    def variables(self, connection: Connection) -> Mapping[str, str]:
        """USER, PASSWORD and DB, as the official image calls them."""
        return {
            "USER": connection.user or "",
            "PASSWORD": connection.password or "",
            "DB": connection.database or "",
        }

    def ecosystem_variables(self, connection: Connection) -> Mapping[str, str]:
        """What frameworks (`DATABASE_URL`) and libpq (`PG…`) read."""
        return {
            "DATABASE_URL": connection.url,
            "PGHOST": connection.host,
            "PGPORT": str(connection.port),
            "PGUSER": connection.user or "",
            "PGPASSWORD": connection.password or "",
            "PGDATABASE": connection.database or "",
        }

    def container(self, service: ServiceSpec, environment: EnvironmentSpec) -> Mapping[str, object]:
        """Credentials by file, and no durability for data that will be thrown away."""
        init = {} if service.persist else {"POSTGRES_INITDB_ARGS": "--no-sync"}
        return {
            "environment": {
                "POSTGRES_USER": service.options["user"],
                "POSTGRES_DB": service.options["database"],
                "POSTGRES_PASSWORD_FILE": secret_file(service.name, "password"),
                **init,
            },
            "command": self._command(service),
        }

    def outside(self, service: ServiceSpec, environment: EnvironmentSpec, *, filled: bool) -> Mapping[str, object]:
        """Another PGDATA; prepared data has another environment's password, which is changed before the server starts.

        The image's own entrypoint is run for both, so that neither stays root.
        """
        where = {"environment": {"PGDATA": _OUTSIDE}}
        return where | ({"command": ["sh", "-c", _START_PREPARED, *self._command(service)]} if filled else {})

    def _command(self, service: ServiceSpec) -> list[str]:
        settings = _SETTINGS if service.persist else (*_SETTINGS, *_THROW_AWAY)
        arguments = [word for setting in settings for word in ("-c", setting)]
        return ["postgres", *arguments, *(service.command or ())]

    def native(self, service: ServiceSpec, environment: EnvironmentSpec, around: Surroundings) -> Native:
        """The server alone, on TCP: a socket's path in the data folder could be longer than the kernel takes."""
        found = around.program.version.split(".")[0]
        # The default image is nobody's wish: whoever names other programs in engine_options wants those.
        wanted = "" if service.image == self.image else _major_of_official(service.image or "")
        if wanted not in ("", found):
            other = (
                f"or image: postgres:{found}, which is what serves here; or name others in engine_options.postgres_bin"
            )
            why = f"what serves Postgres here is {around.program.name} {around.program.version}"
            raise needs_container(service, why, *([other] if wanted else []))
        mine = around.reach[service.name]
        own = (f"listen_addresses={around.listen}", f"port={mine.port}", "unix_socket_directories=")
        # An idle environment is to be small: since 18 three processes wait for reads to do ahead.
        small = ("io_method=sync",) if int(found) >= 18 else ()
        settings = (*own, *_SETTINGS, *small, *(() if service.persist else _THROW_AWAY))
        arguments = [word for setting in settings for word in ("-c", setting)]
        return Native(
            (around.program.paths["postgres"], "-D", DATA, *arguments, *(service.command or ())),
            stop_signal="SIGINT",
            discard_signal="SIGQUIT",
            data=True,
            # Inside the official image the local socket is trusted; here the password takes its place.
            client={"PGHOST": mine.host, "PGPORT": str(mine.port), "PGPASSWORD": mine.password or ""},
            setup={"user": service.options["user"], "database": service.options["database"]},
            unprivileged=True,
        )

    def data_target(self, service: ServiceSpec) -> str:
        """The image's VOLUME, which moved up in 18 so that upgrades can stay on one file system."""
        version = re.search(r":(?:[a-z]+-)?(\d+)", service.image or self.image)
        return "/var/lib/postgresql/data" if version and int(version[1]) < 18 else "/var/lib/postgresql"


def _major_of_official(image: str) -> str | None:
    """The major version an official image's reference asks for, "" where it leaves it open, None for other images."""
    match = re.fullmatch(r"(?:docker\.io/)?(?:library/)?postgres(?::(?:(\d+)[\w.-]*|latest|alpine[\w.-]*))?", image)
    return None if match is None else match[1] or ""


KIND = Postgres()
