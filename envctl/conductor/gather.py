"""Gathering what the planner may know: the kinds' assets, labels, secrets, and what the engine has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envctl import kinds
from envctl.conductor.data.provenance import Provenance
from envctl.conductor.place import Place, owner_name
from envctl.host import assets, clock, owner
from envctl.host.registry import EnvironmentRecord
from envctl.model import Capabilities, EnvironmentSpec, EnvironmentState, Observed, Stack
from envctl.plan import naming
from envctl.plan.document import image_of, own_image
from envctl.plan.facts import Facts, KindAssets
from envctl.plan.processes import is_process

if TYPE_CHECKING:
    from envctl.engines.base import Engine, Survey

_ANY_VERSION = "25.0"  # for what is asked of an engine that depends on no version


def facts_for(
    place: Place,
    found: EnvironmentRecord,
    stack: Stack,
    capabilities: Capabilities,
    look: Survey | None,
    engine: Engine,
    origin: Provenance,
    *,
    images: bool = False,
) -> Facts:
    """What the planner may know.

    Args:
        place: Where we stand.
        found: The environment.
        stack: Its stack, with its leases.
        capabilities: What the engine can do.
        look: A look at the stack that is under way, or None for a stack of which nothing is there.
        engine: The engine.
        origin: Where the environment's data comes from.
        images: Whether to ask it, while the look goes on, which images it has.
    """
    spec = place.spec
    needed = {service.kind for service in spec.services.values()} | {kinds.GENERIC}
    facts = Facts(
        identity=found.identity,
        stack=stack,
        capabilities=capabilities,
        assets={kind: _assets(kind) if capabilities.containers else _folder(kind) for kind in needed},
        labels=_labels(place, found),
        programs={} if capabilities.containers else engine.programs(spec),
        prepared=origin.prepared,
    )
    contained = [service for service in spec.services.values() if not is_process(service, capabilities)]
    references = [image_of(service, facts) for service in contained]
    present = engine.images_present(references) if images and references else {}
    return replace(facts, images=present, observed=look.result() if look else Observed())


def has_containers(engine: Engine) -> bool:
    """Whether the engine runs services in containers."""
    return engine.capabilities(_ANY_VERSION).containers


def own_images(place: Place, services: Sequence[str]) -> dict[str, str]:
    """The reference of each service's image, without any data in it; for kinds that bring no image of their own."""
    facts = Facts(place.identity(), Stack("", "", "", ""), Capabilities(""), assets={})
    return {name: own_image(place.spec.services[name], facts) for name in services}


def runs(place: Place, engine: Engine, services: Sequence[str]) -> dict[str, str]:
    """What runs each service: the id of its image ("" where that is absent), or its program and version.

    Args:
        place: Where we stand.
        engine: The engine.
        services: Which.
    """
    if not has_containers(engine):
        programs = engine.programs(place.spec)
        found = {name: programs[place.spec.services[name].kind] for name in services}
        return {name: f"{one.name} {one.version} {one.folder}" for name, one in found.items()}
    references = own_images(place, services)
    built = {name: place.spec.services[name].build for name in services}
    ids = engine.image_ids([reference for name, reference in references.items() if not built[name]])
    return {name: one.fingerprint if (one := built[name]) else ids[references[name]] for name in services}


def moved(place: Place, engine: Engine, origin: Provenance) -> bool:
    """Whether an image's name was given to another image since prepared data was made with it.

    A name that is gone means no other. Programs that changed are seen by the definitions they are part of.

    Args:
        place: Where we stand.
        engine: The engine.
        origin: Where the data comes from.
    """
    now = runs(place, engine, list(origin.sources)) if origin.sources and has_containers(engine) else {}
    return any(found not in ("", origin.made_with.get(name)) for name, found in now.items())


def unclaimed(place: Place, engine: Engine) -> EnvironmentRecord:
    """What the record would be, for a plan that is only shown. Its ports are left to the engine."""
    now = clock.now()
    identity = place.identity()
    stack = Stack(id="", project=naming.stack_project(identity.name), engine=engine.name, endpoint=engine.address)
    return EnvironmentRecord(
        identity=identity,
        state=EnvironmentState.CREATING,
        stack=stack,
        config_file=place.spec.source,
        created_at=now,
        expires_at=None,
        last_used_at=now,
        owner=owner.current(),
    )


def credentials_for(spec: EnvironmentSpec, known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The known secrets of the services there are, and 128 random bits for each that is missing."""
    return {
        name: {secret: known.get(name, {}).get(secret) or os.urandom(16).hex() for secret in secrets}
        for name, service in spec.services.items()
        if (secrets := kinds.get(service.kind).secrets)
    }


def _assets(kind: str) -> KindAssets:
    bundled = kinds.get(kind).bundled
    return KindAssets(
        fragment=assets.fragment(kind),
        healthcheck=assets.healthcheck(kind),
        folder=str(assets.folder(kind)),
        digest=assets.folder_digest(kind) if bundled else "",
    )


def _folder(kind: str) -> KindAssets:
    """Where there are no containers, what describes them need not be read: that would take a YAML parser."""
    return KindAssets(fragment={}, folder=str(assets.folder(kind)))


def _labels(place: Place, found: EnvironmentRecord) -> dict[str, str]:
    """What everything created carries: enough to know whose it is when the registry is lost."""
    identity = found.identity
    return {
        "registry": place.registry.registry_id,
        "environment": identity.name,
        "stack": found.stack.id,
        "key": identity.key,
        "project": identity.project,
        "branch": identity.branch,
        "checkout": identity.checkout,
        "label": identity.label,
        "config": found.config_file or "",
        "owner": owner_name(),
        "created": found.created_at.isoformat(timespec="seconds"),
        "expires": found.expires_at.isoformat(timespec="seconds") if found.expires_at else "",
    }
