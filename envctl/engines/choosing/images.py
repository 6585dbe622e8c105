"""The images a configuration needs of a registry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envctl import kinds
from envctl.host import assets
from envctl.model import BuildSpec, EnvironmentSpec, ServiceSpec

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one service needs.

    Attributes:
        image: Its image, or None for one that is always built.
        bases: For an image that is built: the images it is built from, all of which must be there in its place.
    """

    image: str | None
    bases: tuple[str, ...] = ()


def wanted(spec: EnvironmentSpec) -> list[Wanted]:
    """What each service that runs in a container needs.

    A build counts as possible when the images are there that its Dockerfile names in FROM. What else it fetches while
    it runs is not looked at, and neither are names with build arguments in them.
    """
    return [_of(service) for service in spec.services.values() if service.process is None]


def _of(service: ServiceSpec) -> Wanted:
    if service.build is not None:
        return Wanted(None, tuple(_bases(_dockerfile(service.build))))
    if service.image is not None:
        return Wanted(service.image)
    kind = kinds.get(service.kind)
    if not kind.bundled:
        return Wanted(kind.image)
    built = f"envctl-{kind.name}:{assets.folder_digest(kind.name)[:12]}"
    return Wanted(built, tuple(_bases(assets.folder(kind.name) / "Dockerfile")))


def _dockerfile(build: BuildSpec) -> Path:
    return Path(build.context, build.dockerfile or "Dockerfile")


def _bases(dockerfile: Path) -> Iterator[str]:
    try:
        found = _FROM.findall(dockerfile.read_text("utf-8", errors="replace"))
    except OSError:
        return  # the build will say so
    stages = {"scratch", *(stage.lower() for _, stage in found)}
    yield from dict.fromkeys(image for image, _ in found if image.lower() not in stages and "$" not in image)


def names(needs: Sequence[Wanted]) -> list[str]:
    """Every image that it helps to have, each once."""
    return list(dict.fromkeys(name for need in needs for name in (need.image, *need.bases) if name))


def absent(needs: Iterable[Wanted], present: Iterable[str]) -> tuple[str, ...]:
    """Those that would have to be fetched, where only `present` are there."""
    there = set(present)
    lacking: dict[str, None] = {}
    for need in needs:
        if need.image not in there:
            needed = need.bases if need.bases or need.image is None else (need.image,)
            lacking |= dict.fromkeys(name for name in needed if name not in there)
    return tuple(lacking)
