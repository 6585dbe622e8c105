"""The Docker engine: where it is, which setting chose it, its versions, and the images that would be used.

All questions are asked at once and share one deadline, so that a hanging engine costs its few seconds only once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from envctl import engines
from envctl.conductor.place import Selection
from envctl.doctor.finding import Finding
from envctl.engines.docker import cli
from envctl.engines.docker.endpoint import Endpoint, resolve
from envctl.errors import EngineTimeout, EngineTooOld, EnvctlError, Interrupted
from envctl.host import clock, config
from envctl.model import EnvironmentSpec

LIMIT_S = 2.5
OLDEST_ENGINE = (23,)
OLDEST_COMPOSE = (2, 23, 1)

_QUESTIONS = {
    "docker": ["--version"],
    "engine": ["version", "--format", "json"],
    "compose": ["compose", "version", "--short"],
    "buildx": ["buildx", "version"],
    "info": ["info", "--format", "json"],
}


def engine(selection: Selection) -> Iterator[Finding]:
    """What was chosen and by what, whether it answers, and whether it is new enough. Raises EngineNotInstalled."""
    spec = _spec(selection)
    asked = selection.engine or (spec.engine if spec else engines.AUTO)
    known = f" (this version has: {', '.join(engines.names())})"
    chosen = "compose" if asked == engines.AUTO else asked
    yield Finding("engine", "chosen", f"{chosen} (asked for: {asked}){'' if chosen in engines.names() else known}")
    endpoint = resolve(selection.environ)
    yield Finding("engine", "endpoint", f"{endpoint.address} (from {endpoint.source})")
    yield Finding("engine", "program", cli.program())
    answers = _Answers(endpoint, spec)
    yield from _versions(answers)
    yield from _daemon(answers)
    yield from _images(answers, spec)


def _spec(selection: Selection) -> EnvironmentSpec | None:
    """The configuration, or None where it is not valid: that is reported elsewhere."""
    try:
        return config.load(selection.file, selection.start, selection.environ)
    except EnvctlError:
        return None


class _Answers:
    """The answers to all questions, or the error in place of one."""

    def __init__(self, endpoint: Endpoint, spec: EnvironmentSpec | None) -> None:
        images = {service.image for service in spec.services.values() if service.image} if spec else set()
        questions = _QUESTIONS | {f"image {image}": ["image", "inspect", "-f", "{{.Id}}", image] for image in images}
        calls = {name: cli.start(endpoint, words, doing=f"ask for {name}") for name, words in questions.items()}
        deadline_s = clock.monotonic_s() + LIMIT_S
        self._answers: dict[str, str | EnvctlError] = {}
        for name, call in calls.items():
            try:
                self._answers[name] = call.answer(max(deadline_s - clock.monotonic_s(), 0.05))
            except EngineTimeout as late:
                late.message = f"the Docker engine did not answer within {LIMIT_S:g} s"
                self._answers[name] = late
            except Interrupted:
                raise
            except EnvctlError as error:
                self._answers[name] = error

    def text(self, name: str) -> str:
        """The answer to a question. Raises EnvctlError: there was none."""
        answer = self._answers[name]
        if isinstance(answer, EnvctlError):
            raise answer
        return answer.strip()

    def json(self, name: str) -> Mapping[str, Any]:
        """The same, where it is a JSON object; empty where it is not one."""
        try:
            value = json.loads(self.text(name))
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def _versions(answers: _Answers) -> Iterator[Finding]:
    yield _told(answers, "docker", "docker program")
    try:
        compose = answers.text("compose")
        yield _checked("compose plugin", compose, OLDEST_COMPOSE)
    except EnvctlError as error:
        yield Finding.of_error("engine", "compose plugin", error)
    yield _told(answers, "buildx", "buildx plugin")


def _told(answers: _Answers, question: str, name: str) -> Finding:
    """An answer that may be missing: nothing depends on it alone."""
    try:
        return Finding("engine", name, answers.text(question))
    except EnvctlError as error:
        return Finding("engine", name, "", error.cause or error.message, error.fix)


def _daemon(answers: _Answers) -> Iterator[Finding]:
    try:
        server = answers.json("engine").get("Server") or {}
    except EnvctlError as error:
        yield Finding.of_error("engine", "engine", error)
        return
    yield _checked("engine", str(server.get("Version", "unknown")), OLDEST_ENGINE)
    try:
        info = answers.json("info")
    except EnvctlError as error:
        yield Finding("engine", "details", "", error.message, error.fix)
        return
    yield Finding("engine", "runs on", _told_of(info))
    for proxy in ("HttpProxy", "HttpsProxy"):
        if info.get(proxy):
            yield Finding("engine", proxy, str(info[proxy]))


def _told_of(info: Mapping[str, Any]) -> str:
    memory = int(info.get("MemTotal") or 0) / 1024**3
    parts = [info.get("OperatingSystem"), f"{info.get('NCPU')} CPUs", f"{memory:.1f} GiB", info.get("Driver")]
    return ", ".join(str(part) for part in parts if part)


def _checked(name: str, version: str, oldest: tuple[int, ...]) -> Finding:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if not numbers or numbers >= oldest:
        return Finding("engine", name, version)
    needed = ".".join(map(str, oldest))
    error = EngineTooOld(f"{name} {version} is too old: {needed} is needed", fix=["upgrade Docker Engine and Compose"])
    return Finding.of_error("engine", name, error, version)


def _images(answers: _Answers, spec: EnvironmentSpec | None) -> Iterator[Finding]:
    """Whether `envctl up` will have to fetch or build something first."""
    for service in spec.services.values() if spec else ():
        if service.image is None:
            yield Finding("engine", f"image of {service.name}", "built by envctl up")
            continue
        try:
            answers.text(f"image {service.image}")
            yield Finding("engine", f"image of {service.name}", f"{service.image}, present")
        except EngineTimeout:
            return  # the engine does not answer at all, which was said
        except EnvctlError:
            yield Finding("engine", f"image of {service.name}", f"{service.image}, absent: envctl up pulls it")
