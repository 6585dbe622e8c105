"""The Compose plugin: asked for its version without the `docker` program before it, which would take twice as long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.engines.docker import cli, endpoint

if TYPE_CHECKING:
    from envctl.engines.docker.endpoint import Endpoint

_PREFIXES = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")


def ask_version(where: Endpoint, environ: Mapping[str, str]) -> cli.Call:
    """Ask Compose for its version; where the plugin is not in one of Docker's usual folders, `docker` looks for it."""
    for folder in _folders(environ):
        path = folder / "docker-compose"
        if path.is_file():
            return cli.start_program([str(path), "version", "--short"], doing="ask for Compose's version")
    return cli.start(where, ["compose", "version", "--short"], doing="ask for Compose's version")


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """In Docker's own order. Source: "cli-plugins/manager" of docker/cli."""
    folder = endpoint.config_folder(environ)
    extra = endpoint.read_json(folder / "config.json").get("cliPluginsExtraDirs")
    yield from (Path(str(one)) for one in (extra if isinstance(extra, list) else ()))
    yield folder / "cli-plugins"
    yield from (Path(prefix, "docker", "cli-plugins") for prefix in _PREFIXES)
