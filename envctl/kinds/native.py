"""The contract of a kind's `native.py`: what serves it on this machine where there is no container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from envctl.model import Program


class Leftovers(Protocol):
    """A kind's `leftovers.py`: what a server that was killed leaves outside of its data folder."""

    def clear(self, data: Path) -> None:
        """Remove it, before the data folder is removed. The server has ended. Never raises."""
        ...


class NativeRunner(Protocol):
    """A kind's `native.py`: finds the programs that serve it on this machine, and prepares their data."""

    def find(self, options: Mapping[str, str], environ: Mapping[str, str]) -> Program:
        """What serves the kind here, at paths that can be run as things are (root's server user included).

        Args:
            options: The configuration's `engine_options`.
            environ: The caller's variables.

        Raises:
            EngineNotInstalled: Nothing does; the error says how to get it.
            EngineFailed: What was found cannot run here (another architecture, a missing library).
        """
        ...

    def prepare(
        self,
        definition: Mapping[str, Any],
        folder: Path,
        data: Path | None,
        secrets: Mapping[str, str],
        account: tuple[int, int] | None,
    ) -> None:
        """Make the service's data folder ready for a start; what is there already and whole is used.

        Args:
            definition: As the plan has it (`plan.processes`): `setup`, `paths`, `persist`, and where it starts from
                prepared data, `prepared`: its `key`, and as `source` the path of a file that `pack` made.
            folder: The service's folder, which exists. Executables in its `bin` come first in the PATH of
                `envctl exec`, `psql` and `redis-cli`.
            data: The data folder, or None for a kind without; its parent exists. It is made here, for `account`.
            secrets: Name → value of the service's own secrets.
            account: User and group the service will run as, where those are not ours.

        Raises:
            EnvctlError: It cannot be made.
        """
        ...

    def pack(self, definition: Mapping[str, Any], data: Path, target: Path, account: tuple[int, int] | None) -> int:
        """Pack the data of a service that was settled and has ended into a private file. A kind without data has none.

        Args:
            definition: As the plan has it.
            data: The data folder.
            target: The file, which has its name only once it is whole.
            account: Whose the data is, where not ours.

        Returns:
            What the file takes on disk, bytes.

        Raises:
            EnvctlError: The data is not whole, or there is no room.
        """
        ...
