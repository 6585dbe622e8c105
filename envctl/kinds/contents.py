"""The contract of what a kind does with the data in its services; each part is a file of the kind's folder.

    seeding.py   puts files into a service
    baseline.py  remembers what is there, and puts it back
    dump.py      the whole content as one stream, and back
    settling.py  has everything written to the data folder before the service is stopped
    proof.py     proves that a server is the environment's own

A kind that lacks a file cannot do that. All of them get connections as they were handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from envctl.model import Connection, ResetReport, ResetStrategy

Inside: TypeAlias = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program where the server is: its exit code, and all it said. Raises TimeoutError."""


class Writable(Protocol):
    """Where a program's output goes."""

    def write(self, piece: bytes, /) -> int:
        """Take it."""
        ...


class Streams(Protocol):
    """Runs programs where the server is, also with a file of ours to read or to write."""

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        """As `Inside`."""
        ...

    def stream(
        self, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        """A program that reads `stdin` or writes `stdout`, as long as it takes: exit code, and what it complains."""
        ...


class Seeding(Protocol):
    """A kind's `seeding.py`."""

    SUFFIXES: tuple[str, ...]
    """Of the files it understands, with their dots, in lower case."""

    def apply(self, connection: Connection, path: Path, shown: str) -> None:
        """Put a file's content into the service, all of it or nothing.

        Args:
            connection: The service.
            path: The file.
            shown: How the file is called in errors.

        Raises:
            SeedFailed: It could not be; the error has file:line and the statement.
        """
        ...


class Baselines(Protocol):
    """A kind's `baseline.py`."""

    def take(self, connection: Connection, strategy: ResetStrategy, inside: Inside) -> None:
        """From now on a reset goes back to what is there now. Again, it replaces what was remembered before.

        Raises:
            DataFailed: It could not be remembered; then there is no baseline.
        """
        ...

    def reset(self, connection: Connection, strategy: ResetStrategy | None = None) -> ResetReport:
        """Put the baseline back, whoever is connected; all of it or nothing.

        Args:
            connection: The service, or a database of its own in it that came from the baseline.
            strategy: How; None for what `take` was told.

        Raises:
            NoBaseline: None was taken.
            ResetBlocked: Somebody holds locks and was not ended.
            DataFailed: It failed; nothing was changed.
        """
        ...

    def Resetter(self, connection: Connection, strategy: ResetStrategy | None = None) -> Resets:  # noqa: N802 - a class
        """What does it again and again."""
        ...


class Resets(Protocol):
    """A kind's `baseline.Resetter(connection, strategy)`: the same again and again, over a connection that stays."""

    def reset(self) -> ResetReport:
        """As `Baselines.reset`."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Pending(Protocol):
    """A restore that is ready: nothing was changed yet."""

    def commit(self) -> None:
        """Put it in the place of what is there; takes a moment. Raises DataFailed."""
        ...

    def abort(self) -> None:
        """Forget it. Never raises."""
        ...


class Dumps(Protocol):
    """A kind's `dump.py`."""

    def save(self, connection: Connection, target: BinaryIO, inside: Streams) -> None:
        """Write all that the service holds at one moment, while others go on using it. Raises DataFailed."""
        ...

    def restore(self, connection: Connection, source: BinaryIO, inside: Streams) -> Pending:
        """Read what `save` wrote, beside what is there. Raises DataFailed, SnapshotInvalid: nothing was changed."""
        ...

    def recover(self, connection: Connection) -> None:
        """Put right what a restore that was killed has left; where it left nothing, do nothing. Raises DataFailed."""
        ...


class Settling(Protocol):
    """A kind's `settling.py`."""

    def settle(self, connection: Connection) -> None:
        """Have everything written to the data folder. Raises DataFailed."""
        ...

    def has_aged(self, connection: Connection) -> bool:
        """Whether a server that was just started from settled data holds, or has lost, what only lives for a time.

        Raises:
            DataFailed: It does not answer.
        """
        ...


class Proof(Protocol):
    """A kind's `proof.py`."""

    def prove(self, connection: Connection) -> None:
        """Prove that the server at the address is this environment's own.

        Raises:
            ForeignServer: It is not, or does not prove it.
            DataFailed: It does not answer.
        """
        ...
