"""What the planner may know besides the configuration. The conductor gathers it; nothing here looks anything up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envctl.model import Capabilities, Identity, Observed, Prepared, Program, Stack


@dataclass(frozen=True, slots=True)
class KindAssets:
    """What a kind's folder holds.

    Attributes:
        fragment: The service of `compose/KIND/compose.yaml`, parsed.
        healthcheck: File name and text of `healthchecks/KIND.*`, or None.
        folder: Path of `compose/KIND`, the build context of a bundled kind.
        digest: Digest of that folder.
    """

    fragment: Mapping[str, object]
    healthcheck: tuple[str, str] | None = None
    folder: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found.

    Attributes:
        identity: Whose environment it is.
        stack: Its leases and credentials.
        capabilities: What the engine can do.
        assets: By kind.
        labels: The labels everything created carries (registry, environment, owner, …), without prefix.
        observed: One look at what runs.
        images: Image reference → whether the engine has it; references that were not looked up are absent.
        programs: Kind → the program that serves it, on an engine without containers.
        prepared: Service → the prepared data it starts from; with an empty source, the service that makes it.
        to_prepare: Why that data is to be made first, in a plan that is only shown; "" where it is there.
    """

    identity: Identity
    stack: Stack
    capabilities: Capabilities
    assets: Mapping[str, KindAssets]
    labels: Mapping[str, str] = field(default_factory=dict)
    observed: Observed = field(default_factory=Observed)
    images: Mapping[str, bool] = field(default_factory=dict)
    programs: Mapping[str, Program] = field(default_factory=dict)
    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    to_prepare: str = ""
