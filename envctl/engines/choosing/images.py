"""The images a configuration needs of a registry."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from envctl import kinds
from envctl.host import assets
from envctl.model import BuildSpec, EnvironmentSpec, PullPolicy, ServiceSpec
from envctl.plan import obtaining

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one service needs.

    Attributes:
        image: Its image, or None for one that is always built.
        bases: For an image that is built: the images it is built from, all of which must be there in its place.
        source: The reference its image is pulled under, where that is not its own.
        policy: When its image is asked for at its registry; bases are where they are missing.
    """

    image: str | None
    bases: tuple[str, ...] = ()
    source: str | None = None
    policy: PullPolicy = "missing"


class Lack(NamedTuple):
    """An image that would have to be fetched.

    Attributes:
        image: Its own reference.
        source: The reference it would be asked for under; None where it may not be asked for.
        present: Whether the engine has it, perhaps an older one.
    """

    image: str
    source: str | None
    present: bool = False


def wanted(spec: EnvironmentSpec) -> list[Wanted]:
    """What each service that runs in a container needs.

    A build counts as possible when the images are there that its Dockerfile names in FROM. What else it fetches while
    it runs is not looked at, and neither are names with build arguments in them.
    """
    return [_of(service, spec) for service in spec.services.values() if service.process is None]


def _of(service: ServiceSpec, spec: EnvironmentSpec) -> Wanted:
    kind = kinds.get(service.kind)
    if service.build is not None:
        return Wanted(None, tuple(_bases(_dockerfile(service.build))))
    if service.image is None and kind.bundled:
        built = f"envctl-{kind.name}:{assets.folder_digest(kind.name)[:12]}"
        return Wanted(built, tuple(_bases(assets.folder(kind.name) / "Dockerfile")))
    image = service.image or kind.image
    source = obtaining.mirrored(image, spec.registry_mirror) if image else None
    return Wanted(image, source=source, policy=obtaining.policy(service, spec))


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


def lacks(needs: Iterable[Wanted], present: Iterable[str]) -> tuple[Lack, ...]:
    """Those that would have to be fetched, where only `present` are there."""
    there = set(present)
    found: dict[Lack, None] = {}
    for need in needs:
        found |= dict.fromkeys(_lacks_of(need, there))
    return tuple(found)


def _lacks_of(need: Wanted, there: Collection[str]) -> Iterator[Lack]:
    present = need.image in there
    if need.bases or need.image is None:
        if not present:
            yield from (Lack(base, base) for base in need.bases if base not in there)
    elif not present:
        yield Lack(need.image, None if need.policy == "never" else need.source or need.image)
    elif need.policy == "always" and "@" not in need.image:
        yield Lack(need.image, need.source or need.image, present=True)
