"""Getting images: pulled with visible progress and retries, or built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from envctl.engines.docker import children, cli
from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.failures import image_failure
from envctl.errors import BuildFailed, EngineUnreachable, ImageRateLimited, RegistryUnreachable
from envctl.host import clock
from envctl.report import Progress

if TYPE_CHECKING:
    from docker import DockerClient

_BACK_OFF_S = (1.0, 3.0, 8.0)
_BUILD_TAIL_LINES = 15
# Words of a passing fault: a server's error or a cut connection. "no such host" will not mend itself in seconds.
_PASSING = re.compile(r"\b50[0234]\b|unexpected eof|connection reset|timeout|temporary failure", re.IGNORECASE)


def pull(endpoint: Endpoint, image: str, services: Sequence[str], progress: Progress) -> None:
    """Pull an image, telling how far it is; a rate limit or a passing fault is tried again with growing pauses.

    Args:
        endpoint: The engine, which does the pulling.
        image: Image reference.
        services: The services that wait for it, for the progress.
        progress: Is told the percentage.

    Raises:
        ImageError: It cannot be had; the subclass says why.
    """
    client = _client(endpoint)
    try:
        for pause_s in (*_BACK_OFF_S, None):
            try:
                for detail in _pull_once(client, image):
                    for service in services:
                        progress.phase(service, "pulling", detail)
            except (ImageRateLimited, RegistryUnreachable) as error:
                passing = isinstance(error, ImageRateLimited) or _PASSING.search(error.cause or "")
                if pause_s is None or not passing:
                    raise
                progress.note(f"{error.message}; trying again in {pause_s:.0f} s")
                clock.sleep_s(pause_s)
            else:
                return
    finally:
        client.close()


def _pull_once(client: DockerClient, image: str) -> Iterator[str]:
    """Pull, yielding "42 % of 80 MB". The engine reports each layer; what counts is their sum."""
    import docker.errors
    import requests.exceptions

    repository, tag = _split(image)
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    try:
        for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise image_failure(str(event["error"]), image)
            detail = event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                done[event["id"]], total[event["id"]] = detail["current"], detail["total"]
                whole = sum(total.values())
                yield f"{100 * sum(done.values()) // whole} % of {whole / 1e6:.0f} MB"
    except docker.errors.APIError as error:
        raise image_failure(str(error.explanation or error), image) from error
    except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
        raise EngineUnreachable(
            f"the Docker engine did not answer while it pulled {image}",
            cause=str(error),
            fix=["look at the engine's log; envctl doctor shows which engine was asked"],
        ) from error


def _split(image: str) -> tuple[str, str]:
    """Repository and tag (or digest); without either, `latest`, as the `docker` program has it."""
    if "@" in image:
        repository, digest = image.split("@", 1)
        return repository, digest
    name = image.rsplit("/", 1)[-1]
    if ":" in name:
        repository, tag = image.rsplit(":", 1)
        return repository, tag
    return image, "latest"


def _client(endpoint: Endpoint) -> DockerClient:
    import docker
    from docker import ContextAPI

    if endpoint.context:
        context = ContextAPI.get_context(endpoint.context)
        tls = context.TLSConfig if context else None
        return docker.DockerClient(base_url=endpoint.address, tls=tls or False, use_ssh_client=True)
    if endpoint.source == "DOCKER_HOST":
        return docker.from_env(use_ssh_client=True)
    return docker.DockerClient(base_url=endpoint.address, use_ssh_client=True)


def build(endpoint: Endpoint, service: str, rendered: Mapping[str, Any], progress: Progress) -> None:
    """Build a service's image from its `build` section, telling the step it is at.

    Raises:
        BuildFailed: The build failed; its last lines are the evidence.
    """
    from python_on_whales import DockerClient as Whale
    from python_on_whales.exceptions import DockerException

    how, image = rendered["build"], str(rendered["image"])
    client = Whale(
        client_call=[*children.ENDS_WITH_US, cli.program()],
        host=None if endpoint.context else endpoint.address,
        context=endpoint.context or None,
    )
    lines: list[str] = []
    try:
        with children.ended_on_error():
            stream = client.buildx.build(
                how["context"],
                tags=[image],
                file=f"{how['context']}/{how['dockerfile']}" if how.get("dockerfile") else None,
                target=how.get("target"),
                build_args=dict(how.get("args") or {}),
                progress="plain",
                load=True,
                stream_logs=True,
            )
            for line in cast("Iterator[str]", stream):  # which it is, with stream_logs
                lines.append(line.rstrip())
                if step := re.match(r"#\d+ (\[.*)", line):
                    progress.phase(service, "building", step[1])
    except DockerException as error:
        raise BuildFailed(
            f'the image of service "{service}" could not be built',
            cause=_reason(lines),
            evidence=lines[-_BUILD_TAIL_LINES:],
            fix=[f"correct the Dockerfile; to see the whole build: docker build {how['context']}"],
            subject={"service": service, "image": image},
        ) from error


def _reason(lines: list[str]) -> str | None:
    telling = [line for line in lines if "ERROR" in line or "error:" in line]
    return telling[-1] if telling else (lines[-1] if lines else None)
