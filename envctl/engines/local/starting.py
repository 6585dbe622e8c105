"""Everything the start of one process needs, its secrets filled in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envctl.engines.local import folders
from envctl.engines.local.census import COOKIE
from envctl.model import DATA, Stack
from envctl.plan import secrets
from envctl.plan.labels import LABEL_PREFIX

_BASIC = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR"})
_PERSONAL = frozenset({"HOME", "TMPDIR"})  # another user may not enter them
_COOKIE_BYTES = 16
_PRIVATE = 0o077


@dataclass(frozen=True, slots=True)
class Starting:
    """One service that is to be started.

    Attributes:
        name: The service.
        folder: Its folder.
        definition: As the plan has it.
        data: Its data folder, or None for a service without.
        account: User and group it runs as, where those are not ours.
        arguments: Program and arguments.
        environment: All of its variables.
        cwd: Where it runs.
        stdin: What it reads at its start.
        cookie: What marks its processes.
        secrets: Its own secrets, by name.
        address: On which it listens.
        umask: Ours for a program of the repository: what it makes in the working tree is as if started by hand.
    """

    name: str
    folder: Path
    definition: Mapping[str, Any]
    data: Path | None
    account: tuple[int, int] | None
    arguments: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    cwd: str
    stdin: str = field(repr=False)
    cookie: str
    secrets: Mapping[str, str] = field(repr=False)
    address: str
    umask: int = _PRIVATE

    @classmethod
    def of(
        cls, state: Path, stack: Stack, folder: Path, definition: Mapping[str, Any], environ: Mapping[str, str]
    ) -> Starting:
        """The start of the service whose folder is `folder`.

        Args:
            state: The state directory.
            stack: Whose credentials fill the definition's markers.
            folder: The service's folder; its name is the service's.
            definition: As the plan has it.
            environ: The caller's variables.

        Raises:
            UnsafeSetting: We are root, and there is no user for servers.
            StateDenied: There is no safe place for another user's data.
        """
        from envctl.engines.local import account

        name = folder.name
        data = account.data_folder(state, stack.id, name, definition) if definition["data"] else None
        user = account.user_of(definition)
        values = secrets.environment(stack.credentials)

        def whole(text: str) -> str:
            return secrets.filled(text.replace(DATA, str(data)) if data else text, values)

        cwd = definition.get("cwd") or str(data or "/")
        cookie = f"{stack.id}-{os.urandom(_COOKIE_BYTES).hex()}"  # the whole stack can be found by its beginning
        own = {key: whole(value) for key, value in definition["environment"].items()}
        given = _given(environ, cwd, inherits=definition["inherits"], as_other=user is not None)
        return cls(
            name=name,
            folder=folder,
            definition=definition,
            data=data,
            account=user,
            arguments=tuple(whole(argument) for argument in definition["arguments"]),
            environment={**given, **own, COOKIE: cookie},
            cwd=cwd,
            stdin=whole(definition.get("stdin") or ""),
            cookie=cookie,
            secrets=stack.credentials.get(name, {}),
            address=stack.publish_address,
            umask=_umask() if definition["inherits"] else _PRIVATE,
        )

    @property
    def depends_on(self) -> frozenset[str]:
        """What must be ready before."""
        return frozenset(self.definition["depends_on"])

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of this machine it was given."""
        return tuple(self.definition["ports"].values())

    def prepare(self) -> None:
        """Make its data ready. May take as long as making a database does.

        Raises:
            EnvctlError: It cannot be made.
        """
        from envctl import kinds

        if self.definition["inherits"]:
            return  # a program of the repository: what it needs is its own business
        runner = kinds.native(str(self.definition["labels"][LABEL_PREFIX + "kind"]))
        if runner is not None:
            runner.prepare(self.definition, self.folder, self.data, self.secrets, self.account)

    def request(self, boot_id: str) -> dict[str, Any]:
        """What the keeper is told; texts hold their bytes as if they were UTF-8, whatever our locale says.

        Args:
            boot_id: As in `owner.current()`.
        """
        return {
            "name": self.name,
            "folder": _portable(str(self.folder)),
            "argv": [_portable(argument) for argument in self.arguments],
            "environment": {_portable(key): _portable(value) for key, value in self.environment.items()},
            "cwd": _portable(self.cwd),
            "stdin": self.stdin,
            "account": list(self.account) if self.account else None,
            "cookie": self.cookie,
            "boot_id": boot_id,
            "log_limit_bytes": folders.LOG_LIMIT_BYTES,
            "umask": self.umask,
        }


def _given(environ: Mapping[str, str], cwd: str, *, inherits: bool, as_other: bool) -> dict[str, str]:
    """What of the caller's variables reaches the process."""
    if inherits:
        return {**environ, "PWD": cwd}
    basic = {key: value for key, value in environ.items() if key in _BASIC or key.startswith("LC_")}
    return {key: value for key, value in basic.items() if not (as_other and key in _PERSONAL)}


def _umask() -> int:
    """Ours. To ask is to set, which holds for all threads: not to be called by two of them at once."""
    ours = os.umask(_PRIVATE)
    os.umask(ours)
    return ours


def _portable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "surrogateescape")
