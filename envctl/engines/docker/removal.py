"""Taking a stack away: containers and networks, then volumes, all found by label."""

from __future__ import annotations

import json
from collections.abc import Sequence

from envctl.engines.docker import cli, deletion, objects
from envctl.engines.docker.direct import Question, answers
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError
from envctl.host import clock
from envctl.model import Removed, Stack

_ROUNDS = 8
# An engine may still be finishing a creation that was asked for before its client was killed: a network takes 70 ms on
# an idle machine. Before "nothing is there" is believed, it is asked again after these pauses; and what it did not
# remove may only have been in use by what it was still removing.
_PAUSES_S = (0.2, 0.6)
_GRACE_S = 10


def remove(where: Endpoint, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
    """Remove everything that carries the stack's labels; volumes that persist stay unless `purge`.

    Args:
        where: The engine.
        stack: The stack.
        registry_id: Only what also carries this id is touched.
        purge: Whether data of `persist: true` goes too.
        settled: Whether one look is enough, since nothing can still be appearing.
    """
    counts: dict[str, int] = {}
    left: list[str] = []
    kept: tuple[str, ...] = ()
    pauses_s = iter(() if settled else _PAUSES_S)
    for _ in range(_ROUNDS):
        found = objects.owned(where, stack.id, registry_id)
        kept = () if purge else tuple(name for name in found.volumes if name in found.persistent)
        volumes = [name for name in found.volumes if name not in kept]
        going = found.containers or found.networks
        if not going and (pause_s := next(pauses_s, None)):
            clock.sleep_s(pause_s)
            continue
        # A container that is just being created would make its volume again, and without a label. So volumes go last.
        left = _round(where, found, volumes if settled or not going else (), counts, grace=bool(kept))
        if not left and (settled or not going):
            break
        if left:
            clock.sleep_s(_PAUSES_S[0])
    if built := _built_images(where, stack):
        cli.run(where, ["image", "rm", *built], doing="remove images", limit_s=60)
        counts["image"] = len(built)
    return Removed(counts, kept, tuple(left))


def _round(
    where: Endpoint, found: objects.Owned, volumes: Sequence[str], counts: dict[str, int], *, grace: bool
) -> list[str]:
    """The networks go beside the containers' files, the volumes as soon as no container has them any more."""
    if grace:
        deletion.stop(where, found.containers, _GRACE_S)
    else:
        deletion.kill(where, found.containers, list(found.networks))
    containers = deletion.begin(where, "container", found.containers)
    others = deletion.begin(where, "network", list(found.networks))
    deletion.check(deletion.refusals(containers))
    others += deletion.begin(where, "volume", volumes)
    refused = deletion.refusals(others)
    for one in (*containers, *others):
        if (one.noun, one.name) not in [(bad.noun, bad.name) for bad in refused]:
            counts[one.noun] = counts.get(one.noun, 0) + 1
    return [f"{bad.noun} {found.networks.get(bad.name, bad.name)}: {_words(bad.error)}" for bad in refused]


def _words(error: Exception) -> str:
    return str(error.cause or error.message) if isinstance(error, EnvctlError) else str(error)


def _built_images(where: Endpoint, stack: Stack) -> list[str]:
    """Images built from the user's `build:` for this stack alone, by the names only we give."""
    named = f"{stack.project}-"
    options = {"filters": json.dumps({"reference": [f"{named}*"]})}
    deadline_s = clock.monotonic_s() + cli.CALL_LIMIT_S
    found = answers([Question(where, "/images/json", options)], deadline_s, doing="list images")[0]
    return [tag for image in found for tag in image["RepoTags"] or () if tag.startswith(named)]
