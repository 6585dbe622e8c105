"""Where a command stands: the state directory, the registry and the checkout, and what follows from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envctl import engines
from envctl.conductor import sweeping
from envctl.engines.local import with_processes
from envctl.errors import EnvironmentNotFound, OtherEngine
from envctl.host import log, paths
from envctl.host.git import find_checkout
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import Checkout, EnvironmentState, Identity, SessionRequest
from envctl.plan import naming

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.engines.choosing import Choice
    from envctl.model import EnvironmentSpec, PullPolicy

SESSION_VARIABLE = "ENVCTL_SESSION"
"""Names the session, in the environment of what runs in it."""

_CI_TTL_S = 7200.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which environment a command is about.

    Attributes:
        start: The folder the command was called in.
        environ: The caller's environment variables.
        file: `-f/--file`, or None to look for envctl.yaml.
        branch: `--branch`, or None to ask git or CI.
        label: `--name`: a second environment beside the branch's, or "".
        engine: `--engine`, or None for what the configuration says.
        given: The configuration itself, instead of a file.
        pull: `--pull`, or None for what the configuration says.
    """

    start: Path
    environ: Mapping[str, str]
    file: Path | None = None
    branch: str | None = None
    label: str = ""
    engine: str | None = None
    given: Mapping[str, Any] | None = None
    pull: PullPolicy | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an `up` is to be done.

    Attributes:
        timeout_s: Time for becoming ready, seconds, or None for the configuration's `ready_timeout`.
        keep_failed: Whether everything stays in place when it fails.
        fresh: Whether what is there is removed first, with its data.
        ttl_s: How long the environment lives without use, seconds, or None for what the configuration says.
        session: The session it is for, or None where somebody wants it up until `down`.
        dirty: Whether one whose data was left half changed is brought up too, to be put right; it stays dirty.
    """

    timeout_s: float | None = None
    keep_failed: bool = False
    fresh: bool = False
    ttl_s: float | None = None
    session: SessionRequest | None = None
    dirty: bool = False


@dataclass
class Place:
    """A selection, found.

    Attributes:
        selection: What was asked for.
        state: The state directory.
        registry: The registry in it.
        wishes: How an `up` is to be done.
    """

    selection: Selection
    state: Path
    registry: Registry
    wishes: Wishes = Wishes()

    @cached_property
    def checkout(self) -> Checkout:
        """The checkout the command stands in."""
        return find_checkout(self.selection.start, self.selection.environ, self.selection.branch)

    @cached_property
    def spec(self) -> EnvironmentSpec:
        """The configuration. Raises ConfigInvalid, ConfigNotFound, UnsafeSetting."""
        from envctl.host import config
        from envctl.plan import obtaining

        if self.selection.given is not None:
            spec = config.given(self.selection.given, self.selection.start, self.selection.environ)
        else:
            file = self.selection.file or self._file_around
            spec = config.load(file, self.selection.start, self.selection.environ)
        return obtaining.with_policy(spec, self.selection.pull) if self.selection.pull else spec

    @cached_property
    def around(self) -> EnvironmentRecord | None:
        """The environment of the session we are called in, where the caller names no other.

        A command inside `envctl run --name e2e -- …` means that environment. One in another checkout does not, nor one
        that outlived its session.
        """
        session_id = self.selection.environ.get(SESSION_VARIABLE)
        if not session_id or self.selection.branch is not None or self.selection.label:
            return None
        found = self.registry.find_session(session_id)
        own = naming.identify(self.checkout, None).checkout
        return found if found is not None and found.identity.checkout == own else None

    @property
    def _file_around(self) -> Path | None:
        """The configuration of the environment we are called in: it is used as it was made."""
        recorded = self.around.config_file if self.around else None
        return Path(recorded) if recorded else None

    @cached_property
    def key(self) -> str:
        """The environment's key, which does not depend on the configuration."""
        if self.around is not None:
            return self.around.identity.key
        return naming.identify(self.checkout, None, self.selection.label).key

    @property
    def lock_name(self) -> str:
        """Name of the environment's lock; unlike its name it stays the same when the project is renamed."""
        return lock_name(self.key)

    def identity(self) -> Identity:
        """The environment's identity, project name included."""
        if self.around is not None:
            return self.around.identity
        return naming.identify(self.checkout, self.spec.project, self.selection.label)

    def adopts(self, found: EnvironmentRecord) -> bool:
        """Whether this `up` has what was made for a session stay: somebody wants it up, and not from within it."""
        return found.ephemeral and self.wishes.session is None and self.around is None

    def find(self) -> EnvironmentRecord | None:
        """What is recorded of the environment. Its secrets are masked in everything that is printed from now on."""
        found = self.registry.find(key=self.key)
        if found is not None:
            keep_secret(found.stack.credentials)
        return found

    def required(self) -> EnvironmentRecord:
        """What is recorded of an environment that was brought up.

        Raises:
            EnvironmentNotFound: It was not, or it is gone.
        """
        record = self.find()
        if record is None or not record.details or record.state is EnvironmentState.DOWN:
            raise self.not_found(record)
        return record

    def not_found(self, record: EnvironmentRecord | None = None) -> EnvironmentNotFound:
        """The error for an environment that is not there."""
        branch = f"branch {self.checkout.branch!r}" if self.checkout.branch else "this folder"
        name = f' and name "{self.selection.label}"' if self.selection.label else ""
        making = record is not None and record.state is EnvironmentState.CREATING
        return EnvironmentNotFound(
            f"there is no environment for {branch}{name} of {self.checkout.root}",
            cause="it is being created, or its `envctl up` was killed" if making else None,
            fix=["envctl up", "envctl ls shows the environments there are"],
            subject={"checkout": self.checkout.root, "branch": self.checkout.branch, "name": self.selection.label},
        )

    def ttl_s(self, found: EnvironmentRecord | None) -> float | None:
        """Seconds to live without use, None for ever: as asked for, else as configured, else as it was.

        A new one lives for ever, but for 2 hours in CI, where jobs die.
        """
        if self.wishes.ttl_s is not None:
            return self.wishes.ttl_s
        if self.spec.ttl_s is not None:
            return self.spec.ttl_s
        if found is not None:
            return found.ttl_s
        return _CI_TTL_S if self.checkout.ci else None

    @property
    def asked_engine(self) -> str:
        """The engine the caller or the configuration names, `auto` among them."""
        return self.selection.engine or self.spec.engine

    @cached_property
    def choice(self) -> Choice | None:
        """What `auto` decides for a new environment; None where an engine is named.

        Raises:
            EngineUnavailable: No engine can carry out the configuration.
        """
        if self.asked_engine != engines.AUTO:
            return None
        from envctl.engines.choosing import choose

        return choose(self.selection.environ, self.spec)

    def other_engine(self, record: EnvironmentRecord) -> OtherEngine | None:
        """The error where another engine is named than the one the environment runs on."""
        asked, runs_on, name = self.asked_engine, record.stack.engine, record.identity.name
        if asked in (engines.AUTO, runs_on):
            return None
        return OtherEngine(
            f"{name} runs on engine {runs_on}, and {asked} is asked for",
            fix=["envctl down, then envctl up", f"or a second environment: envctl up --name {asked} --engine {asked}"],
            subject={"environment": name, "engine": runs_on, "asked": asked},
            state="unchanged",
        )

    def engine(self, record: EnvironmentRecord | None = None, *, planning: bool = False) -> Engine:
        """The engine an environment runs on; for a new one, the engine that was asked for.

        Args:
            record: The environment, or None for a new one.
            planning: Whether the configuration is to be carried out, so that what it asks for must be there too.
        """
        environ = self.selection.environ
        if record is not None:
            engine = engines.create(record.stack.engine, environ, record.stack.endpoint)
        else:
            engine = engines.create(self.choice.name if self.choice else self.asked_engine, environ)
        wanted = planning and any(service.process for service in self.spec.services.values())
        stack_id = record.stack.id if record else "none"
        return with_processes(engine, self.state, environ, stack_id=stack_id, wanted=wanted)

    def folder(self, name: str) -> Path:
        """The environment's own directory inside the state directory."""
        return paths.environment_dir(self.state, name)


def open_place(selection: Selection, wishes: Wishes | None = None) -> Place:
    """Open the state directory and registry, making them where needed, and repair the registry if it was lost.

    What nobody uses any more is swept away meanwhile, by a process of its own.

    Raises:
        UsageError: The name is none that an environment may have.
        CannotWrite: The state directory cannot be made or written.
        StateDenied: It belongs to another user or is open to others.
        RegistryNewer: A newer envctl wrote it.
    """
    if selection.label:
        naming.check_label(selection.label)
    state = paths.ensure_state_dir(paths.state_dir(selection.environ))
    registry = Registry.open(state)
    if registry.needs_repair:
        from envctl.conductor import repair

        repair.from_labels(registry, selection.environ)
    sweeping.start_if_due(registry, state, selection.environ)
    return Place(selection, state, registry, wishes or Wishes())


def keep_secret(credentials: Mapping[str, Mapping[str, str]]) -> None:
    """Have these secrets masked in every log line, error and report."""
    log.keep_secret([value for secrets in credentials.values() for value in secrets.values()])


def lock_name(key: str) -> str:
    """Name of the lock of the environment with this key."""
    return key[:16]


def owner_name() -> str:
    """The user, for the owner label: people on a shared engine want to know whom to ask."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return f"uid {os.getuid()}"
