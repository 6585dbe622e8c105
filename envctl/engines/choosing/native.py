"""Whether a configuration can be run without containers. The rules are the kinds' and the planner's: they are asked."""

from __future__ import annotations

from collections.abc import Mapping

from envctl import kinds
from envctl.engines import embedded
from envctl.host import assets
from envctl.kinds.base import needs_container
from envctl.model import EnvironmentSpec, Identity, Program, Stack
from envctl.plan import processes
from envctl.plan.facts import Facts, KindAssets

_NOBODY = Identity(project="", branch="", checkout="", label="", key="", name="")


def programs(environ: Mapping[str, str], spec: EnvironmentSpec) -> Mapping[str, Program]:
    """The programs the embedded engine would run the configuration with, by kind.

    Raises:
        Unsupported: A service needs a container.
        EngineNotInstalled: A program is missing here.
        EngineFailed: A program that was found cannot run.
    """
    for service in spec.services.values():
        if service.process is None and kinds.native(service.kind) is None:
            raise needs_container(service)  # before a missing program, which would not help
    engine = embedded.create(environ)
    found = engine.programs(spec)
    needed = {service.kind for service in spec.services.values()}
    facts = Facts(
        identity=_NOBODY,
        stack=Stack(id="", project="", engine=engine.name, endpoint=engine.address),
        capabilities=engine.capabilities(),
        assets={kind: KindAssets({}, folder=str(assets.folder(kind))) for kind in needed},
        programs=found,
    )
    processes.definitions(spec, facts)
    return found
