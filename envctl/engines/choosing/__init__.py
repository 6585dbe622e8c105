"""`engine: auto`: which engine a new environment gets, and why.

Compose where a Docker engine answers and is usable; otherwise the embedded engine, where that can run the whole
configuration. Nothing is started, pulled or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envctl.errors import EngineTimeout, EngineUnreachable, EnvctlError, Interrupted
from envctl.model import EnvironmentSpec, Program

if TYPE_CHECKING:
    from envctl.engines.choosing.docker import Usable

LIMIT_S = 2.0
"""An engine that takes longer to say its version does not count as usable, where there is another way."""

_LAST_RESORT_LIMIT_S = 8.0  # … where there is none, it gets the time a named engine would get: 10 s in all
_COMPOSE, _EMBEDDED = "compose", "embedded"
_EXTRA = "pip install 'envctl[embedded]'"


@dataclass(frozen=True, slots=True)
class Choice:
    """What `auto` decided.

    Attributes:
        name: The engine.
        reason: One sentence for people: "compose: Docker Engine 26.1.5 answers".
        address: The engine's address, as it is recorded.
        version: The Docker Engine's version, so that it need not be asked for again; "" for another engine.
        programs: Kind → the program that was found for it, where the embedded engine was chosen.
    """

    name: str
    reason: str
    address: str
    version: str = ""
    programs: Mapping[str, Program] = field(default_factory=dict)


def choose(environ: Mapping[str, str], spec: EnvironmentSpec, *, patient: bool = True) -> Choice:
    """The engine for a new environment of this configuration.

    Args:
        environ: The caller's variables: PATH, Docker's own settings.
        spec: The configuration.
        patient: Whether a Docker engine that is slow gets more time where there is no other way.

    Raises:
        EnvctlError: No engine can carry the configuration out. The error is that of Compose, and also says what would
            make the embedded engine do.
    """
    try:
        usable = _examine(environ, spec, LIMIT_S)
    except Interrupted:
        raise
    except EnvctlError as error:
        return _without_compose(environ, spec, error, patient=patient)
    return _with_compose(environ, spec, usable)


def _examine(environ: Mapping[str, str], spec: EnvironmentSpec, limit_s: float) -> Usable:
    """What costs least first: on a machine without Docker nothing else is to be imported or started."""
    from envctl.engines.docker.program import find

    find(environ)
    from envctl.engines.docker import direct, endpoint
    from envctl.host import clock

    deadline_s = clock.monotonic_s() + limit_s
    engine = direct.Question(endpoint.resolve(environ), "/version")
    from envctl.engines.choosing import docker

    return docker.examine(engine, environ, spec, deadline_s)


def _with_compose(environ: Mapping[str, str], spec: EnvironmentSpec, usable: Usable) -> Choice:
    """Compose, unless it lacks an image that cannot be had while the embedded engine needs none."""
    reason = f"compose: Docker Engine {usable.version.split('+')[0]} answers"  # without a distribution's suffix
    compose = Choice(_COMPOSE, reason, usable.address, usable.version)
    if not usable.lacks:
        return compose
    from envctl.engines.choosing import native

    try:
        programs = native.programs(environ, spec)
    except Interrupted:
        raise
    except EnvctlError:
        return compose  # the only one that can; what is wrong with the image is told by the pull
    refusal = _refusal(usable, environ)
    return _embedded(refusal, programs) if refusal else compose


def _refusal(usable: Usable, environ: Mapping[str, str]) -> str:
    """Why the first image that cannot be had now cannot, "" where all can."""
    from envctl.engines.docker import distribution

    sources = [lack.source for lack in usable.lacks if lack.source]
    refusals = distribution.refusals(usable.endpoint, sources, environ) if sources else {}
    for image, source, present in usable.lacks:
        if source is None:
            return f"image {image} is not present, and pull: never forbids fetching it"
        if source in refusals:
            where = "" if source == image else f" from {source}"
            obtainable = f"obtainable{where} ({refusals[source]})"
            return f"image {image} is " + (f"not {obtainable}" if present else f"neither present nor {obtainable}")
    return ""


def _without_compose(environ: Mapping[str, str], spec: EnvironmentSpec, error: EnvctlError, *, patient: bool) -> Choice:
    """The embedded engine, where it can run everything. Raises `error`, with another way out, where it cannot."""
    from envctl.engines.choosing import native

    try:
        programs = native.programs(environ, spec)
    except Interrupted:
        raise
    except EnvctlError as obstacle:
        if patient and isinstance(error, EngineTimeout):
            try:
                return _with_compose(environ, spec, _examine(environ, spec, _LAST_RESORT_LIMIT_S))
            except EngineTimeout:
                pass
        error.state = error.state or "nothing was created"
        error.fix = (*error.fix, f"or run without Docker: {_way_out(obstacle)}")
        raise error from None
    return _embedded(_words(environ, error), programs)


def _embedded(reason: str, programs: Mapping[str, Program]) -> Choice:
    return Choice(_EMBEDDED, f"embedded: {reason}", "this machine", programs=programs)


def _words(environ: Mapping[str, str], error: EnvctlError) -> str:
    """Why Compose cannot be used, naming the engine that was asked."""
    from envctl.engines.docker.endpoint import resolve

    if isinstance(error, EngineUnreachable):
        return f"no Docker engine answers at {resolve(environ).address}"
    if isinstance(error, EngineTimeout):
        return f"the Docker engine at {resolve(environ).address} did not answer within {LIMIT_S:g} s"
    return error.message


def _way_out(obstacle: EnvctlError) -> str:
    """What keeps the embedded engine from running the configuration, as something to do."""
    from envctl.errors import EngineUnavailable

    if not isinstance(obstacle, EngineUnavailable):
        return f"{obstacle.message}; {obstacle.fix[-1]}" if obstacle.fix else obstacle.message
    fixes = [line for line in obstacle.fix if _EXTRA in line] or [*obstacle.fix, _EXTRA]
    return fixes[0].removeprefix("or ")
