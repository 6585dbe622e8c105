"""Which engine a new environment would get, and why; then what there is of each engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envctl import engines as known
from envctl.conductor.place import Selection
from envctl.doctor import embedded
from envctl.doctor.docker import Docker
from envctl.doctor.finding import Finding
from envctl.errors import EnvctlError, Interrupted
from envctl.host import config
from envctl.model import EnvironmentSpec

_COMPOSE, _EMBEDDED = "compose", "embedded"


def engines(selection: Selection) -> Iterator[Finding]:
    """The decision, Docker, and the programs for the embedded engine. The questions to Docker go on side by side."""
    spec = _spec(selection)
    docker = Docker(selection.environ, spec)
    asked, source = _asked(selection, spec)
    yield Finding("engine", "asked for", f"{asked} (from {source})")
    chosen, finding = _chosen(asked, selection.environ, spec or config.default_spec())
    yield finding
    yield from docker.findings(needed=chosen == _COMPOSE)
    yield from embedded.findings(selection.environ, spec or config.default_spec(), needed=chosen == _EMBEDDED)


def _spec(selection: Selection) -> EnvironmentSpec | None:
    """The configuration, or None where it is not valid: that is reported elsewhere."""
    try:
        return config.load(selection.file, selection.start, selection.environ)
    except Interrupted:
        raise
    except EnvctlError:
        return None


def _asked(selection: Selection, spec: EnvironmentSpec | None) -> tuple[str, str]:
    if selection.engine:
        return selection.engine, "--engine"
    if spec and spec.engine != known.AUTO:
        return spec.engine, "the configuration"
    return known.AUTO, "default"


def _chosen(asked: str, environ: Mapping[str, str], spec: EnvironmentSpec) -> tuple[str, Finding]:
    """The engine, "" where there is none, and the finding that says so."""
    try:
        if asked != known.AUTO:
            name = known.create(asked, environ).name
            return name, Finding("engine", "chosen", name)
        from envctl.engines.choosing import choose

        choice = choose(environ, spec, patient=False)
    except Interrupted:
        raise
    except EnvctlError as error:
        return "", Finding.of_error("engine", "chosen", error, "none")
    return choice.name, Finding("engine", "chosen", choice.reason)
