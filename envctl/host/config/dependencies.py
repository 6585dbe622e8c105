"""What a process waits for where the user does not say: everything of the environment that is not a process itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

from envctl.model import ServiceSpec


def with_defaults(services: Mapping[str, ServiceSpec], said: Collection[str]) -> Mapping[str, ServiceSpec]:
    """`services`, with `depends_on` filled in for processes.

    A program of the repository connects to its database when it starts, and ends where there is none. Services that
    themselves wait for the process, directly or not, are left out: no circle comes about that the user did not write.

    Args:
        services: By name, in the order of the file.
        said: Names of those whose `depends_on` the user gave, an empty one included.
    """
    open_processes = [name for name, service in services.items() if service.process and name not in said]
    if not open_processes:
        return services
    others = [name for name, service in services.items() if service.process is None]
    waiting_for: defaultdict[str, list[str]] = defaultdict(list)
    for service in services.values():
        for name in service.depends_on:
            waiting_for[name].append(service.name)
    result = dict(services)
    for name in open_processes:
        behind = _behind(name, waiting_for)
        chosen = tuple(other for other in others if other not in behind)
        for other in chosen:
            waiting_for[other].append(name)
        result[name] = replace(services[name], depends_on=chosen)
    return result


def _behind(name: str, waiting_for: Mapping[str, list[str]]) -> set[str]:
    """The services that wait for `name`, directly or through others."""
    found: set[str] = set()
    left = [name]
    while left:
        new = [other for other in waiting_for.get(left.pop(), ()) if other not in found]
        found.update(new)
        left += new
    return found
