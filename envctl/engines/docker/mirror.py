"""Images of Docker Hub from a mirror: pulled under the mirror's name, then known by their own alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from envctl.engines.docker import cli, images, objects
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, ImageAbsent, ImageError
from envctl.report import Progress

_TRIES = 3


def pull(endpoint: Endpoint, image: str, source: str, services: Sequence[str], progress: Progress) -> None:
    """Pull `source`, name it `image`, and take the mirror's name away again, unless the engine had that before.

    Another envctl that does the same may take the mirror's name away before we have used it.

    Args:
        endpoint: The engine, which does the pulling.
        image: The image's own reference.
        source: The reference at the mirror.
        services: The services that wait for it, for the progress.
        progress: Is told the percentage.

    Raises:
        ImageError: It cannot be had; names the image and the mirror.
    """
    kept = bool(objects.image_ids(endpoint, [source])[source])
    for tries_left in reversed(range(_TRIES)):
        try:
            images.pull(endpoint, source, services, progress)
        except ImageError as error:
            raise _named(error, image, source) from error
        try:
            cli.run(endpoint, ["tag", source, image], doing=f"name {source} {image}")
        except ImageAbsent:
            if not tries_left:
                raise
        else:
            break
    if not kept:
        _untag(endpoint, source)


def _untag(endpoint: Endpoint, source: str) -> None:
    with suppress(ImageAbsent):  # the other one was quicker
        cli.run(endpoint, ["image", "rm", "--no-prune", source], doing=f"take the name {source} away")


def _named(error: ImageError, image: str, source: str) -> EnvctlError:
    """The same error, telling that it was the mirror that was asked, and for which image."""
    error.message = f"image {image} cannot be had from the mirror: {error.message}"
    error.args = (error.message,)
    error.subject |= {"image": image, "source": source}
    absent = [f"bring it to the mirror, as {source}"] if isinstance(error, ImageAbsent) else []
    error.fix = (*absent, "check registry_mirror in the configuration; it is the engine that asks it", *error.fix)
    return error
