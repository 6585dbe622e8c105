"""Which variables an environment exports, in which order."""

from __future__ import annotations

import re
from dataclasses import replace

from envctl import kinds
from envctl.model import Connection, EnvironmentSpec, Identity, PortSpec, ServiceSpec
from envctl.plan.variables import prefix, secrets_of, service_variables, variables

IDENTITY = Identity("shop", "it's $(id)", "/src/shop", "", "0" * 64, "shop-it-s-id-00000000")


def service(name: str, kind: str | None = None, ports: tuple[PortSpec, ...] | None = None) -> ServiceSpec:
    """A service of a kind with that kind's defaults."""
    k = kinds.get(kind or name)
    options = {option: value.default for option, value in k.options.items()}
    return ServiceSpec(name, k.name, ports=k.ports if ports is None else ports, options=options)


def connect(*services: ServiceSpec) -> dict[str, Connection]:
    """Connections with ports from 20000 and the password `pw/NAME`."""
    result = {}
    for number, spec in enumerate(services):
        ports = {port.name: 20000 + 10 * number + i for i, port in enumerate(spec.ports)}
        secrets = {"password": f"pw/{spec.name}", "token": f"token-{spec.name}"}
        result[spec.name] = kinds.get(spec.kind).connection(spec, "127.0.0.1", ports, secrets)
    return result


def exported(*services: ServiceSpec, export: dict[str, str] | None = None) -> dict[str, str]:
    """The variables of an environment of these services."""
    spec = EnvironmentSpec({s.name: s for s in services}, export=export or {})
    return variables(IDENTITY, "compose", spec, connect(*services))


DEFAULT = (service("postgres"), service("redis"), service("websocket"))


def test_the_default_environment_exports_what_the_documentation_lists() -> None:
    """Names and order are a promise."""
    assert list(exported(*DEFAULT)) == [
        *("ENVCTL_ENV", "ENVCTL_PROJECT", "ENVCTL_BRANCH", "ENVCTL_ENGINE"),
        *("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_URL", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
        *("REDIS_HOST", "REDIS_PORT", "REDIS_URL", "REDIS_PASSWORD", "REDIS_DB"),
        *("WEBSOCKET_HOST", "WEBSOCKET_PORT", "WEBSOCKET_URL", "WEBSOCKET_TOKEN", "WEBSOCKET_HTTP_URL"),
        *("DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "WS_URL", "WS_TOKEN"),
    ]


def test_values_come_from_identity_and_connections() -> None:
    """The branch is given as it is, the addresses as the connections say."""
    found = exported(*DEFAULT)
    assert found["ENVCTL_ENV"] == "shop-it-s-id-00000000"
    assert found["ENVCTL_BRANCH"] == "it's $(id)"
    assert found["ENVCTL_ENGINE"] == "compose"
    assert found["DATABASE_URL"] == found["POSTGRES_URL"] == "postgresql://app:pw%2Fpostgres@127.0.0.1:20000/app"
    assert found["PGPASSWORD"] == found["POSTGRES_PASSWORD"] == "pw/postgres"
    assert found["REDIS_PORT"] == "20010"


def test_the_first_service_of_a_kind_gives_the_ecosystem_names() -> None:
    """A second database has its own prefix only."""
    found = exported(service("main-db", "postgres"), service("audit", "postgres"))
    assert found["DATABASE_URL"] == found["MAIN_DB_URL"]
    assert found["AUDIT_PORT"] == "20010"
    assert found["PGPORT"] == "20000"


def test_a_services_own_variable_stands_over_the_ecosystems() -> None:
    """A service called `database` has DATABASE_URL for itself."""
    found = exported(service("postgres"), service("database", "generic", (PortSpec("http", 80),)))
    assert found["DATABASE_URL"] == "http://127.0.0.1:20010"


def test_export_stands_over_everything_and_is_resolved() -> None:
    """What the user names explicitly is what the tests get."""
    found = exported(
        *DEFAULT, export={"DATABASE_URL": "{postgres.url}?x=1", "BRANCH": "{env.branch}", "N": "{literal}"}
    )
    assert found["DATABASE_URL"] == found["POSTGRES_URL"] + "?x=1"
    assert (found["BRANCH"], found["N"]) == ("it's $(id)", "{literal}")


def test_named_ports_have_variables() -> None:
    """A service with several ports gives each a name."""
    found = exported(service("mailer", "generic", (PortSpec("smtp", 1025), PortSpec("web-ui", 8025))))
    assert found["MAILER_PORT"] == found["MAILER_SMTP_PORT"] == "20000"
    assert found["MAILER_WEB_UI_PORT"] == "20001"


def test_a_service_without_ports_exports_nothing() -> None:
    """There is no address to tell."""
    assert service_variables(connect(service("worker", "generic", ()))["worker"]) == {}


def test_a_service_that_is_not_there_is_left_out() -> None:
    """Variables of a part of the environment, as `url` needs them."""
    spec = EnvironmentSpec({s.name: s for s in DEFAULT})
    found = variables(IDENTITY, "compose", spec, connect(service("redis")))
    assert "REDIS_URL" in found
    assert "POSTGRES_URL" not in found


def test_every_name_is_one_a_shell_accepts() -> None:
    """Hyphens of service and port names become underscores."""
    found = exported(*DEFAULT, service("object-store", "generic", (PortSpec("a-b", 1), PortSpec("c_d", 2))))
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in found)
    assert prefix("object-store") == "OBJECT_STORE"


def test_every_secret_is_listed_for_masking() -> None:
    """Also in the form it has within a URL; longest first, so that no part of one stays behind."""
    found = secrets_of(connect(*DEFAULT))
    assert {"pw/postgres", "pw%2Fpostgres", "pw/redis", "pw%2Fredis", "token-websocket"} == set(found)
    assert [len(secret) for secret in found] == sorted(map(len, found), reverse=True)


def test_an_absent_secret_masks_nothing() -> None:
    """An empty mask would hide everything."""
    connection = replace(connect(service("redis"))["redis"], password="")
    assert secrets_of({"redis": connection}) == ()
