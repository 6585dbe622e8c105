"""The Compose plugin: its version, without the `docker` program before it, which would take twice as long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.engines.docker import endpoint
from envctl.host import cache

if TYPE_CHECKING:
    from envctl.engines.docker.endpoint import Endpoint

_PREFIXES = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
_DOING = "ask for Compose's version"


def version(where: Endpoint, environ: Mapping[str, str], limit_s: float) -> str:
    """The plugin's version as it says it; kept in the cache under the file's path, size and time.

    Where the plugin is in none of Docker's usual folders, `docker` looks for it.

    Raises:
        EngineNotInstalled: There is none.
        EngineTimeout: No answer within `limit_s`.
    """
    for folder in _folders(environ):
        path = folder / "docker-compose"
        try:
            found = path.stat()
        except OSError:
            continue
        key = sha256(f"{path}\0{found.st_size}\0{found.st_mtime_ns}".encode()).hexdigest()[:24]
        return cache.remembered(cache.root(environ), "versions", key, partial(_ask, path, limit_s))
    from envctl.engines.docker import cli

    return cli.run(where, ["compose", "version", "--short"], doing=_DOING, limit_s=limit_s).strip()


def _ask(path: Path, limit_s: float) -> str:
    from envctl.engines.docker import cli

    return cli.start_program([str(path), "version", "--short"], doing=_DOING).answer(limit_s).strip()


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """In Docker's own order. Source: "cli-plugins/manager" of docker/cli."""
    folder = endpoint.config_folder(environ)
    extra = endpoint.read_json(folder / "config.json").get("cliPluginsExtraDirs")
    yield from (Path(str(one)) for one in (extra if isinstance(extra, list) else ()))
    yield folder / "cli-plugins"
    yield from (Path(prefix, "docker", "cli-plugins") for prefix in _PREFIXES)
