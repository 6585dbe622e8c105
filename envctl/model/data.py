"""The data of services: what shapes it, where it comes from, and what a reset did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

ResetStrategy = Literal["auto", "tables", "template"]
"""How the data of a service is put back: what was touched, or a whole copy; `auto` measures and chooses."""


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file whose content is put into a service.

    Attributes:
        path: Relative to the project's root, with `/`.
        digest: SHA-256 (hex) of its content.
    """

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class DataCommand:
    """A program of the repository that shapes the data of services.

    Attributes:
        command: Program and arguments; a shell line is ("/bin/sh", "-c", LINE).
        cwd: Absolute path of the folder it runs in, inside the project.
        inputs: Patterns of the files it depends on, relative to the project's root.
        digests: Path, relative to the root, → SHA-256 (hex) of the content, for every file that matches, sorted.
        folder: `cwd` relative to the project's root, with `/`; "." is the root itself.
    """

    command: tuple[str, ...]
    cwd: str
    inputs: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    folder: str = "."


SeedStep = SeedFile | DataCommand
"""One step of a service's `seed`."""


class Prepared(NamedTuple):
    """The prepared data that a service starts from.

    Attributes:
        key: Digest of everything that shaped it.
        source: Reference of the image that holds it, or, for a process, absolute path of the packed folder.
        made_with: The id of the image, or the program, that ran the service when it was made; "" where not known.
    """

    key: str
    source: str
    made_with: str = ""


class ResetReport(NamedTuple):
    """What a reset of one service did.

    Attributes:
        service: Its name.
        strategy: How it was done: "tables", "template", "copy" (keys of Redis), "flush" (a Redis that has no
            baseline, because nothing was ever put into it), "sessions" (of a WebSocket server).
        changed: How many things were put back: tables, keys or sessions.
        duration_ms: How long it took.
        note: What people should know of it ("the schema had changed"), or "".
    """

    service: str
    strategy: str
    changed: int
    duration_ms: float
    note: str = ""
