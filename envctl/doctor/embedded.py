"""The embedded engine: the programs it found, the user they run as, and where their data would be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from envctl import kinds
from envctl.doctor import machine
from envctl.doctor.finding import Finding
from envctl.engines.choosing import native
from envctl.errors import EngineUnavailable, EnvctlError, Interrupted
from envctl.host import account, cache, paths
from envctl.model import EnvironmentSpec

_TOPIC = "embedded"


def findings(environ: Mapping[str, str], spec: EnvironmentSpec, *, needed: bool) -> Iterator[Finding]:
    """Everything there is to say about running without Docker.

    Args:
        environ: The caller's variables.
        spec: The configuration.
        needed: Whether `envctl up` would use this engine; otherwise what is missing is told and no problem.
    """
    wanted = {service.kind for service in spec.services.values() if service.process is None}
    for kind in kinds.names():
        if (runner := kinds.native(kind)) is None:
            continue
        try:
            program = runner.find(spec.engine_options, environ)
            yield Finding(_TOPIC, kind, f"{program.name} {program.version} at {program.folder}")
        except Interrupted:
            raise
        except EnvctlError as error:
            yield _lack(kind, error, needed=needed and kind in wanted)
    yield from _configuration(environ, spec, needed=needed)
    yield from _places(environ, needed=needed)


def _lack(name: str, error: EnvctlError, *, needed: bool) -> Finding:
    return Finding.of_error(_TOPIC, name, error) if needed else Finding(_TOPIC, name, error.message)


def _configuration(environ: Mapping[str, str], spec: EnvironmentSpec, *, needed: bool) -> Iterator[Finding]:
    """Whether every service could run without a container."""
    try:
        native.programs(environ, spec)
    except Interrupted:
        raise
    except EngineUnavailable:
        return  # a program is missing, which was said
    except EnvctlError as error:
        yield _lack("services", error, needed=needed)
    else:
        yield Finding(_TOPIC, "services", "all can run without a container")


def _places(environ: Mapping[str, str], *, needed: bool) -> Iterator[Finding]:
    """The servers' user and folder. Nothing is made."""
    try:
        server = account.unprivileged()
    except Interrupted:
        raise
    except EnvctlError as error:
        yield _lack("runs as", error, needed=needed)
        return
    if server is None:
        yield Finding(_TOPIC, "runs as", f"you (user {os.geteuid()})")
        folder = machine.existing_part(paths.state_dir(environ))
    else:
        yield Finding(_TOPIC, "runs as", f"user {server[0]}, because Postgres refuses root")
        made = next(account.run_roots(), None)
        yield Finding(_TOPIC, "data folder", str(made) if made else "made by the first envctl up")
        folder = made or machine.existing_part(paths.state_dir(environ))
    place = cache.root(environ)
    yield Finding(_TOPIC, "cache", str(place) if place else "none: HOME is not set")
    yield machine.disk(_TOPIC, folder)
