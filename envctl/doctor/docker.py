"""The Docker engine: where it is, which setting chose it, its versions, and the images that would be used.

All questions are asked at once and share one deadline, so that a hanging engine costs its few seconds only once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from envctl.doctor.finding import Finding
from envctl.engines.docker import cli, versions
from envctl.engines.docker.endpoint import Endpoint, resolve
from envctl.errors import EngineTimeout, EnvctlError, ImageAbsent, Interrupted
from envctl.host import clock
from envctl.host.config import default_spec
from envctl.model import EnvironmentSpec, ServiceSpec
from envctl.plan import obtaining
from envctl.plan.addresses import addresses

LIMIT_S = 2.5

_QUESTIONS = {
    "docker": ["--version"],
    "engine": ["version", "--format", "json"],
    "compose": ["compose", "version", "--short"],
    "buildx": ["buildx", "version"],
    "info": ["info", "--format", "json"],
}


class Docker:
    """What is asked of Docker, from the start under way.

    Args:
        environ: The caller's variables.
        spec: The configuration, or None where it is not valid.
    """

    def __init__(self, environ: Mapping[str, str], spec: EnvironmentSpec | None) -> None:
        self._endpoint, self._spec = resolve(environ), spec
        self._missing: EnvctlError | None = None
        try:
            self._answers = _Answers(self._endpoint, spec)
        except Interrupted:
            raise
        except EnvctlError as error:
            self._missing = error

    def findings(self, *, needed: bool) -> Iterator[Finding]:
        """Where it is, by which setting, whether it answers, and whether it is new enough.

        Args:
            needed: Whether `envctl up` would use it; otherwise nothing that is wrong with it is in the way.
        """
        yield Finding("docker", "endpoint", f"{self._endpoint.address} (from {self._endpoint.source})")
        if self._missing is None:
            yield Finding("docker", "program", cli.program())
            self._answers.collect()
            for finding in self._told():
                yield finding if needed else replace(finding, code="", exit_code=0)
        elif needed:
            yield Finding.of_error("docker", "program", self._missing)
        else:
            yield Finding("docker", "program", "not installed")

    def _told(self) -> Iterator[Finding]:
        yield from _versions(self._answers)
        yield from _daemon(self._answers)
        yield from _ports(self._endpoint, self._answers, self._spec)
        yield from _images(self._answers, self._spec)


class _Answers:
    """The answers to all questions, or the error in place of one."""

    def __init__(self, endpoint: Endpoint, spec: EnvironmentSpec | None) -> None:
        images = {service.image for service in spec.services.values() if service.image} if spec else set()
        questions = _QUESTIONS | {f"image {image}": ["image", "inspect", "-f", "{{.Id}}", image] for image in images}
        self._calls = {name: cli.start(endpoint, words, doing=f"ask for {name}") for name, words in questions.items()}
        self._deadline_s = clock.monotonic_s() + LIMIT_S
        self._answers: dict[str, str | EnvctlError] = {}

    def collect(self) -> None:
        """Wait for the answers."""
        for name, call in self._calls.items():
            try:
                self._answers[name] = call.answer(max(self._deadline_s - clock.monotonic_s(), 0.05))
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
        yield _checked("compose plugin", "Docker Compose", compose, versions.OLDEST_COMPOSE)
    except EnvctlError as error:
        yield Finding.of_error("docker", "compose plugin", error)
    yield _told(answers, "buildx", "buildx plugin")


def _told(answers: _Answers, question: str, name: str) -> Finding:
    """An answer that may be missing: nothing depends on it alone."""
    try:
        return Finding("docker", name, answers.text(question))
    except EnvctlError as error:
        return Finding("docker", name, "", error.cause or error.message, error.fix)


def _daemon(answers: _Answers) -> Iterator[Finding]:
    try:
        server = answers.json("engine").get("Server") or {}
    except EnvctlError as error:
        yield Finding.of_error("docker", "engine", error)
        return
    yield _checked("engine", "Docker Engine", str(server.get("Version", "unknown")), versions.OLDEST_ENGINE)
    try:
        info = answers.json("info")
    except EnvctlError as error:
        yield Finding("docker", "details", "", error.message, error.fix)
        return
    yield Finding("docker", "runs on", _told_of(info))
    for proxy in ("HttpProxy", "HttpsProxy"):
        if info.get(proxy):
            yield Finding("docker", proxy, str(info[proxy]))


def _ports(endpoint: Endpoint, answers: _Answers, spec: EnvironmentSpec | None) -> Iterator[Finding]:
    """Where the ports of services are found from here."""
    from envctl.engines.compose import ComposeEngine

    engine = ComposeEngine(endpoint)
    try:
        server = answers.json("engine").get("Server") or {}
        capabilities = engine.seen_from_here(engine.capabilities(str(server.get("Version", "unknown"))))
    except EnvctlError:
        return  # the engine does not answer, or is too old, which was said
    try:
        host, published = addresses(spec or default_spec(), capabilities)
    except EnvctlError as error:
        yield Finding.of_error("docker", "ports", error)
        return
    told = f"at {host}" if host == published else f"at {host}, published on {published}"
    yield Finding("docker", "ports", ": ".join(filter(None, (told, capabilities.vantage))))


def _told_of(info: Mapping[str, Any]) -> str:
    memory = int(info.get("MemTotal") or 0) / 1024**3
    parts = [info.get("OperatingSystem"), f"{info.get('NCPU')} CPUs", f"{memory:.1f} GiB", info.get("Driver")]
    return ", ".join(str(part) for part in parts if part)


def _checked(name: str, program: str, version: str, oldest: tuple[int, ...]) -> Finding:
    error = versions.too_old(program, version, oldest)
    return Finding.of_error("docker", name, error, version) if error else Finding("docker", name, version)


def _images(answers: _Answers, spec: EnvironmentSpec | None) -> Iterator[Finding]:
    """Whether `envctl up` will have to fetch or build something first."""
    if spec is None:
        return
    if spec.registry_mirror:
        yield Finding("docker", "registry mirror", spec.registry_mirror)
    for service in spec.services.values():
        if service.process is not None:
            continue
        if service.image is None:
            yield Finding("docker", f"image of {service.name}", "built by envctl up")
            continue
        try:
            answers.text(f"image {service.image}")
            yield _image(service, service.image, spec, present=True)
        except ImageAbsent:
            yield _image(service, service.image, spec, present=False)
        except EnvctlError:
            return  # the engine does not answer at all, which was said


def _image(service: ServiceSpec, image: str, spec: EnvironmentSpec, *, present: bool) -> Finding:
    """What `envctl up` does about an image before it starts the service."""
    name, value = f"image of {service.name}", f"{image}, {'present' if present else 'absent'}"
    try:
        cause = obtaining.why(service, spec, image, present=present)
    except ImageAbsent as error:
        return Finding.of_error("docker", name, error, value)
    if cause is None:
        return Finding("docker", name, value)
    source = obtaining.mirrored(image, spec.registry_mirror)
    how = f"pulls it{f' as {source}' if source else ''}{' again whenever it starts the service' if present else ''}"
    return Finding("docker", name, f"{value}: envctl up {how}")
