"""Taking a stack away: containers, then networks and volumes, all found by label."""

from __future__ import annotations

from collections.abc import Sequence

from envctl.engines.docker import cli, objects
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock
from envctl.model import Removed, Stack

_ROUNDS = 6
# An engine may still be finishing a creation that was asked for before its client was killed: a network takes 70 ms on
# an idle machine. Before "nothing is there" is believed, it is asked again after these pauses.
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
    images = _list_built_images(where, stack)  # beside the first look
    for _ in range(_ROUNDS):
        found = objects.owned(where, stack.id, registry_id)
        kept = () if purge else tuple(name for name in found.volumes if name in found.persistent)
        volumes = [name for name in found.volumes if name not in kept]
        if not (found.containers or found.networks or volumes):
            pause_s = next(pauses_s, None)
            if pause_s is None:
                break
            clock.sleep_s(pause_s)
            continue
        left = _round(where, found, volumes, counts, grace=bool(kept))
        if settled and not left:
            break
    if built := images.answer().split():
        cli.run(where, ["image", "rm", *built], doing="remove images", limit_s=60)
        counts["image"] = len(built)
    return Removed(counts, kept, tuple(left))


def _round(
    where: Endpoint, found: objects.Owned, volumes: Sequence[str], counts: dict[str, int], *, grace: bool
) -> list[str]:
    objects.remove_containers(where, found.containers, grace_s=_GRACE_S if grace else None)
    _count(counts, "container", len(found.containers))
    calls = [
        ("network", found.networks, objects.remove_others(where, "network", found.networks)),
        ("volume", volumes, objects.remove_others(where, "volume", volumes)),
    ]
    left: list[str] = []
    for noun, names, call in calls:
        if call is None:
            continue
        try:
            call.answer()
            _count(counts, noun, len(names))
        except Interrupted:
            raise
        except EnvctlError as error:
            left.extend(f"{noun} {name}: {error.cause or error.message}" for name in names)
    return left


def _count(counts: dict[str, int], noun: str, number: int) -> None:
    if number:
        counts[noun] = counts.get(noun, 0) + number


def _list_built_images(where: Endpoint, stack: Stack) -> cli.Call:
    """Images built from the user's `build:` for this stack alone, by the names only we give."""
    arguments = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={stack.project}-*"]
    return cli.start(where, arguments, doing="list images")
