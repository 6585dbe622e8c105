"""Looking into an environment's services: their logs, and programs run inside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from envctl.conductor import teardown
from envctl.conductor.place import Place
from envctl.errors import ServiceNotFound, UsageError
from envctl.host.merge import merged

if TYPE_CHECKING:
    from envctl.engines.base import Engine


def logs(
    place: Place, services: Sequence[str], *, follow: bool, tail_lines: int | None, since: str | None
) -> Iterator[tuple[str, str]]:
    """As `environment.logs`."""
    since = None if since is None else moment(since)
    found = place.find()
    if found is None:
        yield from teardown.kept_logs(place, services, tail_lines)
        return
    engine = place.engine(found)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    wanted = services or tuple(seen)
    for name in wanted:
        if name not in seen:
            raise _no_service(name, tuple(seen))
    streams = {
        name: engine.logs(found.stack, name, seen[name].handle, follow=follow, tail_lines=tail_lines, since=since)
        for name in wanted
    }
    yield from merged(streams)


def moment(since: str) -> str:
    """A moment in a form every engine reads: seconds ago ("300s"), or ISO 8601 with its offset."""
    from datetime import datetime

    from envctl.plan.units import DURATION_FORM, duration_s

    try:
        return f"{duration_s(since):.3f}s"
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        fix = [f"write a duration, {DURATION_FORM}, or a moment, 2026-11-22T10:00:00Z"]
        raise UsageError(f"{since!r} is neither a duration nor a moment", fix=fix) from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()


def execute(
    place: Place, service: str, command: Sequence[str], *, tty: bool, stdin: bool, variables: Mapping[str, str]
) -> int:
    """As `environment.execute`."""
    engine, handle = _found(place, service)
    return engine.execute(handle, command, tty=tty, stdin=stdin, variables=variables)


def answer(place: Place, service: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
    """As `environment.answer`."""
    engine, handle = _found(place, service)
    return engine.exec(handle, command, limit_s)


def _found(place: Place, service: str) -> tuple[Engine, str]:
    """The engine, and its id of the service."""
    found = place.find()
    if found is None:
        raise place.not_found()
    engine = place.engine(found)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    if service not in seen:
        raise _no_service(service, tuple(seen))
    return engine, seen[service].handle


def _no_service(name: str, known: Sequence[str]) -> ServiceNotFound:
    return ServiceNotFound(
        f'the environment has no service "{name}"',
        cause=f"its services are: {', '.join(known)}" if known else "no service of it is there",
        fix=["envctl status", "envctl up, if it should be there"],
        subject={"service": name},
    )
