"""Settings: what each variable means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from wsserver.settings import Limits, PostgresSettings, RedisSettings, Settings, SettingsError, load

TOKEN = {"WS_TOKEN": "secret-token"}


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        load(TOKEN | environ)
    return refused.value.problems


def test_token_alone_is_enough() -> None:
    """Only the token has no default; without addresses there are no dependencies."""
    assert load(TOKEN) == Settings(token="secret-token")


def test_every_variable_is_read() -> None:
    """Each documented variable sets its setting."""
    settings = load(
        {
            **TOKEN,
            "HOST": "127.0.0.1",
            "PORT": "8080",
            "WS_PATH": "/live",
            "CHANNEL_PREFIX": "mine:",
            "MAX_MESSAGE_BYTES": "1024",
            "MAX_QUEUE": "5",
            "MAX_SUBSCRIPTIONS": "6",
            "MAX_CLIENTS": "7",
            "DRAIN_TIMEOUT_S": "0.5",
            "LOG_LEVEL": "warning",
        }
    )
    assert settings == Settings(
        token="secret-token",
        host="127.0.0.1",
        port=8080,
        path="/live",
        channel_prefix="mine:",
        limits=Limits(message_bytes=1024, queue=5, subscriptions=6, clients=7),
        drain_timeout_s=0.5,
        log_level="WARNING",
    )


def test_empty_variables_count_as_unset() -> None:
    """An empty variable, as Compose passes for one that is not set, means its default."""
    assert load(TOKEN | {"PORT": "", "DATABASE_URL": "", "REDIS_HOST": ""}) == load(TOKEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "3_0"),
        ("PORT", "٣"),
        ("PORT", "9" * 5000),
        ("MAX_QUEUE", "0"),
        ("MAX_MESSAGE_BYTES", "1.5"),
        ("DRAIN_TIMEOUT_S", "nan"),
        ("DRAIN_TIMEOUT_S", "-1"),
        ("DRAIN_TIMEOUT_S", "soon"),
        ("LOG_LEVEL", "loud"),
        ("WS_PATH", "ws"),
        ("WS_PATH", "/ws?x"),
        ("WS_PATH", "/wß"),
        ("WS_PATH", "/healthz"),
        ("CHANNEL_PREFIX", "a\nb"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql://host:port/db"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://host/zero"),
        ("REDIS_URL", "redis://host/0?ssl_ca_certs=x"),
        ("PGPORT", "0"),
        ("REDIS_DB", "x"),
    ],
)
def test_bad_value_is_refused_by_name(name: str, value: str) -> None:
    """A value that cannot be used is one problem, which begins with its variable."""
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}: ")


def test_all_problems_are_told_at_once() -> None:
    """Every wrong variable is named, not only the first."""
    assert len(problems(PORT="x", MAX_QUEUE="x", LOG_LEVEL="x", WS_PATH="x")) == 4


@pytest.mark.parametrize("name", ["PGUSER", "PGDATABASE", "PGPASSWORD", "REDIS_PASSWORD"])
def test_half_configured_dependency_is_refused(name: str) -> None:
    """Login data without an address is a mistake, not a dependency that is not wanted."""
    (problem,) = problems(**{name: "x"})
    assert problem.split(": ")[0] in ("PGHOST", "REDIS_HOST")


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """A secret's file is read without its line end; missing, empty, binary or doubled ones are refused."""
    file = tmp_path / "secret"
    file.write_text(" from file \n")
    assert load({"WS_TOKEN_FILE": str(file)}).token == " from file "
    assert problems(WS_TOKEN_FILE=str(file))[0].startswith("WS_TOKEN: and WS_TOKEN_FILE are both set")
    for content in (None, b"\n", b"\xff"):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(SettingsError, match=r"^WS_TOKEN_FILE: "):
            load({"WS_TOKEN_FILE": str(file)})


def test_postgres_from_single_variables() -> None:
    """The PG variables become connection parameters; unset ones are left to libpq."""
    postgres = load(TOKEN | {"PGHOST": "db", "PGUSER": "app", "PGPASSWORD": "pw"}).postgres
    params = {"host": "db", "port": "5432", "user": "app", "password": "pw"}
    assert postgres == PostgresSettings("", params, "pw")


@pytest.mark.parametrize(
    ("url", "params", "password"),
    [
        ("postgresql://app:p%2Fw@db:1/shop", {}, "p/w"),
        ("postgres://app@db/shop?password=pw2&sslmode=disable", {}, "pw2"),
        ("postgresql://app@db/shop", {"password": "beside"}, "beside"),
    ],
)
def test_postgres_url_wins_and_may_leave_the_password_out(url: str, params: dict[str, str], password: str) -> None:
    """DATABASE_URL is used as it is; without a password of its own, PGPASSWORD completes it."""
    environ = {"DATABASE_URL": url, "PGPASSWORD": "beside", "PGHOST": "ignored"}
    assert load(TOKEN | environ).postgres == PostgresSettings(url, params, password)


def test_redis_from_url_and_from_single_variables() -> None:
    """Both ways to name a Redis give the same settings; the URL wins."""
    single = {"REDIS_HOST": "cache", "REDIS_PORT": "7", "REDIS_PASSWORD": "p/w", "REDIS_DB": "2"}
    expected = RedisSettings(host="cache", port=7, password="p/w", db=2)
    assert load(TOKEN | single).redis == expected
    assert load(TOKEN | {"REDIS_URL": "redis://:p%2Fw@cache:7/2", "REDIS_HOST": "other"}).redis == expected
    assert load(TOKEN | {"REDIS_URL": "redis://:p%2Fw@cache:7?db=2"}).redis == expected
    assert load(TOKEN | {"REDIS_URL": "redis://cache:7", "REDIS_DB": "2", "REDIS_PASSWORD": "p/w"}).redis == expected
    tls = load(TOKEN | {"REDIS_URL": "rediss://me@cache"}).redis
    assert tls == RedisSettings(host="cache", username="me", tls=True)


def test_default_prefix_names_the_redis_database() -> None:
    """Redis shares its channels between databases, so the default prefix keeps them apart."""
    assert load(TOKEN | {"REDIS_HOST": "cache", "REDIS_DB": "4"}).channel_prefix == "envctl:ws:4:"


def test_secrets_are_hidden_in_repr_and_known_to_the_redactor() -> None:
    """No repr shows a secret, and all of them are listed for masking."""
    url = "postgresql://app:hunter2@db/shop"
    settings = load(TOKEN | {"DATABASE_URL": url, "REDIS_HOST": "cache", "REDIS_PASSWORD": "hunter3"})
    assert settings.secrets == ["secret-token", "hunter2", "hunter3"]
    for secret in settings.secrets:
        assert secret not in repr(settings)
