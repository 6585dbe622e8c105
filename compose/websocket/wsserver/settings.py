"""Settings: what the environment variables say, read and checked in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .environ import Reader

EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a container; who can reach it is the choice of whoever publishes the port
HTTP_PATHS = ("/healthz", "/readyz", "/metrics")
RESET_PATH = "/reset"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """The environment holds settings that cannot be used; ``problems`` has one line for each, naming its variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """Where Postgres is: a URL or nothing, completed by single parameters."""

    conninfo: str = field(repr=False)
    params: Mapping[str, str] = field(repr=False)
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where Redis is."""

    host: str
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, may use."""

    message_bytes: int = 65_536
    queue: int = 256
    subscriptions: int = 100
    clients: int = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one server."""

    token: str = field(repr=False)
    host: str = EVERYWHERE
    port: int = 3001
    path: str = "/ws"
    channel_prefix: str = "envctl:ws:0:"
    limits: Limits = field(default_factory=Limits)
    drain_timeout_s: float = 2.0
    log_level: str = "INFO"
    postgres: PostgresSettings | None = None
    redis: RedisSettings | None = None

    @property
    def secrets(self) -> list[str]:
        """Every value that must never be printed."""
        passwords = [dependency.password for dependency in (self.postgres, self.redis) if dependency]
        return [secret for secret in (self.token, *passwords) if secret]


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: with every problem found, not only the first.
    """
    env = Reader(environ)
    redis = _redis(env)
    settings = Settings(
        token=env.secret("WS_TOKEN", required=True) or "",
        host=env.text("HOST", EVERYWHERE),
        port=env.integer("PORT", 3001, low=0, high=65_535),
        path=_path(env),
        channel_prefix=_channel_prefix(env, redis),
        limits=Limits(
            message_bytes=env.integer("MAX_MESSAGE_BYTES", 65_536, low=128, high=16 * 1024 * 1024),
            queue=env.integer("MAX_QUEUE", 256, low=1, high=100_000),
            subscriptions=env.integer("MAX_SUBSCRIPTIONS", 100, low=1, high=100_000),
            clients=env.integer("MAX_CLIENTS", 1_000, low=1, high=1_000_000),
        ),
        drain_timeout_s=env.seconds("DRAIN_TIMEOUT_S", 2.0, low=0.0, high=600.0),
        log_level=env.choice("LOG_LEVEL", "INFO", LOG_LEVELS),
        postgres=_postgres(env),
        redis=redis,
    )
    if env.problems:
        raise SettingsError(env.problems)
    return settings


def _path(env: Reader) -> str:
    path = env.text("WS_PATH", "/ws")
    if not path.startswith("/") or set(path) & set("?# ") or not (path.isascii() and path.isprintable()):
        env.problem("WS_PATH", f"{path!r} is not a path such as /ws")
    elif path in (*HTTP_PATHS, RESET_PATH):
        env.problem("WS_PATH", f"{path} is one of the server's own endpoints")
    return path


def _channel_prefix(env: Reader, redis: RedisSettings | None) -> str:
    # Redis does not keep the channels of its databases apart, which surprises whoever separates by database
    # number; so the number is part of the default.
    prefix = env.text("CHANNEL_PREFIX", f"envctl:ws:{redis.db if redis else 0}:")
    if not prefix.isprintable() or len(prefix) > 200:
        env.problem("CHANNEL_PREFIX", "must be printable and at most 200 characters long")
    return prefix


def _postgres(env: Reader) -> PostgresSettings | None:
    """``DATABASE_URL``, else the ``PG…`` variables; a password kept out of the URL comes from its own variable."""
    if env.text("DATABASE_URL", ""):
        return _postgres_url(env)
    host, port = env.text("PGHOST", ""), env.integer("PGPORT", 5432, low=1, high=65_535)
    user, database, password = env.text("PGUSER", ""), env.text("PGDATABASE", ""), env.secret("PGPASSWORD")
    if not host:
        if user or database or password:
            env.problem("PGHOST", "is missing, though other PG… variables are set")
        return None
    params = {"host": host, "port": str(port), "user": user, "dbname": database, "password": password or ""}
    return PostgresSettings("", {name: value for name, value in params.items() if value}, password)


def _postgres_url(env: Reader) -> PostgresSettings | None:
    url = _url(env, "DATABASE_URL", schemes=("postgresql", "postgres"))
    if url is None:
        return None
    if own := unquote(url.password or "") or parse_qs(url.query).get("password", [""])[-1]:
        return PostgresSettings(url.geturl(), {}, own)
    password = env.secret("PGPASSWORD")
    return PostgresSettings(url.geturl(), {"password": password} if password else {}, password)


def _redis(env: Reader) -> RedisSettings | None:
    """``REDIS_URL``, else the ``REDIS_…`` variables."""
    if env.text("REDIS_URL", ""):
        return _redis_url(env)
    host, port = env.text("REDIS_HOST", ""), env.integer("REDIS_PORT", 6379, low=1, high=65_535)
    password, db = env.secret("REDIS_PASSWORD"), env.integer("REDIS_DB", 0, low=0, high=65_535)
    if host:
        return RedisSettings(host=host, port=port, password=password, db=db)
    if password:
        env.problem("REDIS_HOST", "is missing, though a Redis password is set")
    return None


def _redis_url(env: Reader) -> RedisSettings | None:
    url = _url(env, "REDIS_URL", schemes=("redis", "rediss"))
    if url is None:
        return None
    return RedisSettings(
        host=url.hostname or "",
        port=url.port or 6379,
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else env.secret("REDIS_PASSWORD"),
        db=_redis_db(env, url),
        tls=url.scheme == "rediss",
    )


def _redis_db(env: Reader, url: SplitResult) -> int:
    options = parse_qs(url.query, keep_blank_values=True)
    number = options.pop("db", [url.path.strip("/") or env.text("REDIS_DB", "0")])[-1]
    if options:
        env.problem("REDIS_URL", f"has options that are not supported: {', '.join(sorted(options))}")
    if number.isascii() and number.isdecimal() and len(number) < 6:
        return int(number)
    env.problem("REDIS_URL", "does not end with a database number, such as /0")
    return 0


def _url(env: Reader, name: str, *, schemes: tuple[str, ...]) -> SplitResult | None:
    """The URL in this variable; what is wrong with it is told without repeating it, for it may hold a password."""
    try:
        url = urlsplit(env.text(name, ""))
        usable = url.scheme in schemes and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if usable:
        return url
    env.problem(name, f"is not a URL such as {schemes[0]}://user:password@127.0.0.1:1234/name")
    return None
