"""The maker: an environment of the data services alone, up for as long as its data is made and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from envctl.conductor import creation, session
from envctl.conductor.data.ending import Ending
from envctl.conductor.data.provenance import Provenance
from envctl.conductor.place import Place, Wishes
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock, locks, owner
from envctl.host.registry import Registry
from envctl.host.signals import shielded
from envctl.model import EnvironmentSpec, ServiceSpec, SessionRequest
from envctl.plan import references
from envctl.report import Silent

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.report import EnvironmentReport, Progress


_GONE = "the environment is as it was before; what the data was made in is removed (--keep-failed keeps it)"


@contextmanager
def maker(
    place: Place,
    engine: Engine,
    services: Sequence[str],
    label: str,
    budget_s: float,
    progress: Progress,
    ending: Ending,
) -> Iterator[tuple[Place, EnvironmentReport]]:
    """Such an environment for the time of the block, however that ends. After one that succeeds, `ending` removes it.

    It is a session's: whoever kills this process leaves it to the next command. Where the block fails and everything
    is to be kept (`--keep-failed`), it stays, and the error says how to look into it.

    Args:
        place: Where the environment that wants the data stands.
        engine: Its engine.
        services: Those that are to be up.
        label: The maker's name beside the branch's.
        budget_s: Time for becoming ready, seconds.
        progress: Is told what happens.
        ending: One that was begun before is awaited first.

    Raises:
        EnvctlError: It could not be brought up.
    """
    own, request = _place(place, engine, services, label)
    ending.wait()
    keep, done = False, False
    try:
        with locks.environment_lock(
            own.state, own.lock_name, timeout_s=budget_s, purpose="preparing data", on_wait=progress.note
        ) as lock:
            origin = Provenance(sources=dict.fromkeys(services, ""))
            report = creation.bring_up(own, lock, budget_s, progress, clock.monotonic_s(), origin)
        yield own, report
        done = True
    except Interrupted:
        raise
    except EnvctlError as error:
        keep = own.wishes.keep_failed and own.find() is not None
        error.state = _kept(label) if keep else _GONE
        raise
    finally:
        with shielded(left=lambda: [f"environment {own.identity().name}"]):
            if done:
                ending.begin(own.identity().name, partial(_end, own, request.id))
            else:
                session.end(own.state, own.registry, place.selection.environ, request.id, keep=keep, progress=progress)


def _kept(label: str) -> str:
    return f"kept: look into it with envctl psql --name {label}; envctl down --name {label} removes it"


def _end(own: Place, session_id: str, on_mark: Callable[[], None]) -> None:
    """From another thread, so over a connection of its own, and without a word between those about the environment."""
    registry = Registry.open(own.state)
    session.end(own.state, registry, own.selection.environ, session_id, progress=Silent(), on_mark=on_mark)


def _place(place: Place, engine: Engine, services: Sequence[str], label: str) -> tuple[Place, SessionRequest]:
    """Where the maker stands, and the session that it is for."""
    request = SessionRequest(os.urandom(6).hex(), "the preparing of data", owner.current())
    wishes = Wishes(place.wishes.timeout_s, place.wishes.keep_failed, session=request)
    maker = Place(replace(place.selection, label=label, engine=engine.name), place.state, place.registry, wishes)
    maker.__dict__["spec"] = _spec(place.spec, services)  # in the place of what a file says
    return maker, request


def _spec(spec: EnvironmentSpec, services: Sequence[str]) -> EnvironmentSpec:
    """The data services alone, on ports of their own."""
    exported = {name: text for name, text in spec.export.items() if set(references.services_in(text)) <= set(services)}
    kept = {name: _bare(spec.services[name], services) for name in services}
    return replace(spec, services=kept, export=exported, ttl_s=None)


def _bare(service: ServiceSpec, services: Sequence[str]) -> ServiceSpec:
    return replace(
        service,
        migrate=None,
        seed=(),
        depends_on=tuple(name for name in service.depends_on if name in services),
        ports=tuple(replace(port, host_port=None) for port in service.ports),
    )
