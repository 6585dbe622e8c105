"""`pull: always` for services that start from prepared data: what that is made with is asked for at its registry first.

The data is in an image of its own, which no registry has. So a newer image of the service makes other data, or it would
never be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envctl.conductor import gather
from envctl.conductor.place import Place
from envctl.plan import obtaining

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.report import Progress


def renew(place: Place, engine: Engine, services: Sequence[str], progress: Progress) -> None:
    """Get the newest image of each service whose policy is `always`; one that is absent is got when it is started.

    Args:
        place: Where we stand.
        engine: The engine.
        services: Services that are to be started.
        progress: Is told how far it is.

    Raises:
        ImageError: It cannot be had.
    """
    spec = place.spec
    asked = [name for name in services if obtaining.policy(spec.services[name], spec) == "always"]
    if not asked or not gather.has_containers(engine):
        return
    images = gather.own_images(place, [name for name in asked if not spec.services[name].build])
    present = engine.images_present(list(images.values()))
    for image in dict.fromkeys(images.values()):
        waiting = [name for name in images if images[name] == image]
        if present[image] and obtaining.why(spec.services[waiting[0]], spec, image, present=True):
            engine.pull(image, obtaining.mirrored(image, spec.registry_mirror), waiting, place.state, progress)
