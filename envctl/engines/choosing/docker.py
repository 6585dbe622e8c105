"""Whether Docker can be used: everything is asked at once, so that it takes as long as the slowest answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envctl.engines.choosing import images
from envctl.engines.docker import plugin, vantage, versions
from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EngineFailed
from envctl.host import clock
from envctl.model import Capabilities, EnvironmentSpec
from envctl.plan.addresses import addresses


@dataclass(frozen=True, slots=True)
class Usable:
    """A Docker engine that envctl can work with.

    Attributes:
        endpoint: Where it is.
        version: Its version.
        lacks: The images that it would have to fetch.
    """

    endpoint: Endpoint
    version: str
    lacks: tuple[images.Lack, ...]

    @property
    def address(self) -> str:
        """As recorded in a stack."""
        return str(self.endpoint)


def examine(engine: Question, environ: Mapping[str, str], spec: EnvironmentSpec, deadline_s: float) -> Usable:
    """Ask the Docker engine and the Compose plugin what they are, and the engine which images it has.

    Args:
        engine: The question for the engine's version, under way.
        environ: The caller's variables.
        spec: The configuration.
        deadline_s: Until when to wait, on the monotonic clock.

    Raises:
        EngineUnavailable: It does not answer in time, or Compose is missing.
        EngineTooOld: One of the two is older than envctl needs.
        EngineDenied: This user may not use it.
        AddressUnreachable: No port that it publishes can be reached from here.
    """
    wanted = images.wanted(spec)
    asked: dict[str, Question] = {}
    try:
        for image in images.names(wanted):
            asked[image] = Question(engine.endpoint, f"/images/{image}/json")
        plugin_version = plugin.version(engine.endpoint, environ, max(deadline_s - clock.monotonic_s(), 0.05))
        version = _version(engine.answer(deadline_s)[1])
        present = {image for image, question in asked.items() if question.answer(deadline_s)[0]}
    finally:
        for question in (engine, *asked.values()):
            question.end()
    for name, found, oldest in (
        ("Docker Engine", version, versions.OLDEST_ENGINE),
        ("Docker Compose", plugin_version, versions.OLDEST_COMPOSE),
    ):
        if error := versions.too_old(name, found, oldest):
            raise error
    _check_reach(engine.endpoint, spec)
    return Usable(engine.endpoint, version, images.lacks(wanted, present))


def _check_reach(endpoint: Endpoint, spec: EnvironmentSpec) -> None:
    """Raises AddressUnreachable: we are in a container of the engine, with no way to its machine."""
    plain = Capabilities("compose", local=endpoint.is_local, host=endpoint.host, publish_address=endpoint.host)
    addresses(spec, vantage.seen_from_here(endpoint, plain))


def _version(text: str) -> str:
    import json

    try:
        return str(json.loads(text)["Version"])
    except (ValueError, KeyError, TypeError):
        raise EngineFailed("what answers in Docker's place is no Docker engine", cause=text[:200]) from None
