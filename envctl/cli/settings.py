"""What the common options say, wherever on the command line they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.errors import UsageError

if TYPE_CHECKING:
    from envctl.environment import Selection


@dataclass(slots=True)
class Settings:
    """The common options of one call; filled while the command line is parsed, so the last mention of an option wins.

    Attributes:
        file: `-f/--file`.
        branch: `--branch`.
        name: `--name`.
        engine: `--engine`.
        timeout_s: `--timeout`, seconds.
        format: `--format`, as given; not every command knows every format.
        verbose: `-v/--verbose`.
        log_format: `--log-format`.
        no_color: `--no-color`.
        fails_as: The exit code of what fails in envctl, where the command has one of its own.
    """

    file: Path | None = None
    branch: str | None = None
    name: str = ""
    engine: str | None = None
    timeout_s: float | None = None
    format: str | None = None
    verbose: bool = False
    log_format: str | None = None
    no_color: bool = False
    fails_as: int | None = None

    def selection(self) -> Selection:
        """Which environment the call is about."""
        from envctl.environment import Selection  # not at the top: `envctl --help` has no use for the conductor

        return Selection(
            start=current_folder(),
            environ=os.environ,
            file=self.file,
            branch=self.branch,
            label=self.name,
            engine=self.engine,
        )

    def choose_format(self, known: Sequence[str], default: str | None = None) -> str:
        """The format to print in: the one asked for, else `default`, else the first of `known`.

        Raises:
            UsageError: The format was given before the command's name, and the command does not know it.
        """
        chosen = self.format or default or known[0]
        if chosen not in known:
            raise UsageError(f"this command has no format {chosen!r}", fix=[f"choose one of {', '.join(known)}"])
        return chosen

    @property
    def logs(self) -> bool:
        """Whether log lines were asked for."""
        return self.verbose or self.log_format is not None


def current_folder() -> Path:
    """The folder envctl was called in, also where it has been removed since: `envctl down` must work there.

    Raises:
        UsageError: It was removed, and the shell did not say what it was called.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        called = os.environ.get("PWD", "")
        if called.startswith("/"):
            return Path(called)
        raise UsageError("the current folder no longer exists", fix=["change to another folder"]) from None
