"""Where the data of an environment comes from, as it is written down: what shaped it, and what it was started from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from envctl.model import EnvironmentSpec, Prepared

if TYPE_CHECKING:
    from envctl.host.registry import EnvironmentRecord

KEY = "data"
"""The entry of a record's details."""


class Provenance(NamedTuple):
    """Where data comes from.

    Attributes:
        key: Of everything that shaped it; "" where nothing did, or where it is only now being made.
        made_with: For each prepared service what ran it when its data was made.
        sources: For each prepared service what it started from; "" where its data is being made.
    """

    key: str = ""
    made_with: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}

    @property
    def prepared(self) -> dict[str, Prepared]:
        """As the planner may know it."""
        return {name: Prepared(self.key, source, self.made_with.get(name, "")) for name, source in self.sources.items()}

    def as_details(self) -> dict[str, Any]:
        """As a record holds it; nothing where no data was shaped."""
        return {KEY: self._asdict()} if self.key else {}


NOWHERE = Provenance()
"""Of an environment without any seed or migration."""


def recorded(found: EnvironmentRecord | None) -> Provenance:
    """What is written down of an environment's data."""
    known = found.details.get(KEY) if found else None
    return Provenance(**known) if known else NOWHERE


def is_shaped(spec: EnvironmentSpec) -> bool:
    """Whether any service is migrated or seeded."""
    return any(service.migrate or service.seed for service in spec.services.values())


def is_prepared(spec: EnvironmentSpec) -> bool:
    """Whether services may start from data: what is put into them, or what was kept of their first start."""
    return spec.snapshots_unseeded or is_shaped(spec)


def unchanged(spec: EnvironmentSpec, found: EnvironmentRecord) -> Provenance | None:
    """What is written down, if the configuration still asks for the same data; else None. Asks no engine."""
    before = recorded(found)
    if not is_prepared(spec):
        return None if before.key else NOWHERE
    if not before.key and not is_shaped(spec):
        return NOWHERE  # what began without a snapshot goes on without one
    return before if before.key and before.key == _key(spec, before.made_with, found.stack.endpoint) else None


def direct_key(spec: EnvironmentSpec) -> str:
    """Of what shapes the data of services that are seeded where they are: the programs that hold it do not count."""
    from envctl.plan import data_key

    shaped = [name for name, service in spec.services.items() if service.migrate or service.seed]
    return data_key.key(data_key.inputs(spec, shaped, dict.fromkeys(shaped, "")))


def prepared_key(inputs: Mapping[str, str], address: str) -> str:
    """Of prepared data; what one engine's images hold is nothing to another engine.

    Args:
        inputs: What shaped it, as `data_key.inputs` gives it.
        address: The engine's.
    """
    from envctl.plan import data_key

    return data_key.key({**inputs, "engine": address})


def _key(spec: EnvironmentSpec, made_with: Mapping[str, str], address: str) -> str:
    from envctl.plan import data_key

    services = data_key.wants(spec)
    if not services:
        return "" if made_with else direct_key(spec)
    if set(services) != set(made_with):
        return ""
    return prepared_key(data_key.inputs(spec, services, made_with), address)
