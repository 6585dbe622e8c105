"""What a configuration says of data: `migrate`, `seed` and `reset` of a service, and `snapshots` of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from envctl import kinds
from envctl.host.config.data_command import contents, digested, migration
from envctl.host.config.nodes import MapNode, Node
from envctl.host.config.problems import did_you_mean, shown
from envctl.host.config.seed import seed, taken_by
from envctl.host.config.values import Context, Fields, boolean, converted, one_of
from envctl.host.digests import Digests
from envctl.kinds.base import Kind
from envctl.model import DataCommand, EnvironmentSpec, ResetStrategy, SeedFile, SeedStep
from envctl.plan.units import size_bytes

MIN_SNAPSHOTS = 16 * 1024**2
_SNAPSHOT_KEYS = ("max_size", "unseeded")

_max_size = converted(size_bytes, low=MIN_SNAPSHOTS, limits="at least 16m; snapshots: false keeps none")


class Shaping(NamedTuple):
    """What is said of the data of one service."""

    migrate: DataCommand | None = None
    seed: tuple[SeedStep, ...] = ()
    reset: ResetStrategy = "auto"


def shaping(fields: Fields, kind: Kind) -> Shaping:
    """What a service of this kind says of its data."""
    taken = taken_by(kind, is_process=fields.has("process"))
    steps = fields.read("seed", lambda node, path, context: seed(node, path, context, taken))
    return Shaping(fields.read("migrate", migration), steps or (), _reset(fields, kind) or "auto")


def _reset(fields: Fields, kind: Kind) -> ResetStrategy | None:
    if fields.has("reset") and not kind.resets:
        able = [name for name in kinds.names() if kinds.get(name).resets]
        message = f'"reset" is a setting of kind {" and ".join(able)}, and this service is {kind.name}'
        hint = "remove reset: there is only one way to put its data back"
        fields.context.report.add(fields.node.items["reset"][0], fields.path, message, hint)
        return None
    return cast("ResetStrategy | None", fields.read("reset", one_of(kind.resets)))


def snapshots(node: Node, path: str, context: Context) -> tuple[bool, bool, int | None]:
    """Whether prepared data is kept, whether that of unseeded services is too, and, where said, how much at most."""
    if not isinstance(node, MapNode):
        return boolean(node, path, context) is not False, False, None
    for key, (key_node, _) in node.items.items():
        if key not in _SNAPSHOT_KEYS:
            known = f"known: {', '.join(_SNAPSHOT_KEYS)}; snapshots: false keeps none"
            context.report.add(key_node, path, f"unknown key {shown(key)}", did_you_mean(key, _SNAPSHOT_KEYS) or known)
    fields = Fields(node, path, context)
    return True, fields.read("unseeded", boolean) is True, fields.read("max_size", _max_size)


def changed_since(spec: EnvironmentSpec, root: Path, environ: Mapping[str, str]) -> list[str]:
    """The files of `migrate` and `seed` that are not any more what they were when `spec` was read, sorted.

    Nobody knows which of the two the data is made of that was made meanwhile.

    Args:
        spec: The environment.
        root: The folder its paths count from.
        environ: Says where the user's cache is.

    Raises:
        OSError: A folder cannot be read any more.
        TooManyFiles: There are too many files now.
    """
    digests = Digests(root, environ)
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for service in spec.services.values():
        for step in (*([service.migrate] if service.migrate else []), *service.seed):
            if isinstance(step, SeedFile):
                before[step.path] = step.digest
                after.update(digested([step.path], digests))
            else:
                before.update(step.digests)
                after.update(digested([name for name, _ in contents(root, step.inputs)], digests))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
