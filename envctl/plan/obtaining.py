"""Images that are pulled: whether one is asked for at its registry, and under which name."""

from __future__ import annotations

import re
from dataclasses import replace

from envctl.errors import ImageAbsent
from envctl.model import EnvironmentSpec, PullPolicy, ServiceSpec

ABSENT = "image {} is not on the engine"

# What Docker takes for a registry's host rather than a user of Docker Hub.
_REGISTRY = re.compile(r"[^/]*[.:][^/]*/|localhost/")


def policy(service: ServiceSpec, spec: EnvironmentSpec) -> PullPolicy:
    """When the image of a service is asked for: as it says itself, else as the configuration says for all."""
    return service.pull or spec.pull


def with_policy(spec: EnvironmentSpec, pull: PullPolicy) -> EnvironmentSpec:
    """The configuration with one policy for all services, whatever it says itself: for `--pull`."""
    services = {name: replace(service, pull=None) for name, service in spec.services.items()}
    return replace(spec, services=services, pull=pull)


def mirrored(image: str, mirror: str | None) -> str | None:
    """The reference under which a mirror of Docker Hub has an image; None where it does not come from the mirror.

    Images that name a registry stay as they are. So do those that name a digest: no tag can stand for it, and without
    one what was pulled under another name could not be given its own.
    """
    if not mirror or "@" in image or _REGISTRY.match(image):
        return None
    return f"{mirror}/{image}" if "/" in image else f"{mirror}/library/{image}"


def why(service: ServiceSpec, spec: EnvironmentSpec, image: str, *, present: bool | None) -> str | None:
    """The cause of pulling a service's image before it is started, or None where it need not be.

    Args:
        service: The service.
        spec: The configuration.
        image: The image's reference.
        present: Whether the engine has it; None where nobody looked.

    Raises:
        ImageAbsent: It is not there, and may not be pulled.
    """
    chosen = policy(service, spec)
    if chosen == "never" and present is False:
        raise forbidden(service.name, image)
    if chosen == "always" and present and "@" not in image:  # what a digest names never changes
        return f"image {image} may be newer at its registry (pull: always)"
    return None if present else ABSENT.format(image)


def forbidden(service: str, image: str) -> ImageAbsent:
    """The error for an image that is not there and may not be pulled."""
    return ImageAbsent(
        f'the engine has no image {image}, which service "{service}" needs',
        cause="pull: never forbids to ask a registry for it",
        fix=[
            f"bring it to the engine by hand: docker pull {image}, or docker load < image.tar",
            "or have it pulled where it is missing: envctl up --pull missing",
        ],
        subject={"service": service, "image": image},
    )
