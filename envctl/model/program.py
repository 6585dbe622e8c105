"""Services without containers: the programs that serve them, and how a kind wants its program run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from envctl.model.connection import Connection

DATA = "@data@"
"""In a `Native`'s arguments and environment: the folder of the service's data, which only the engine knows."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of this machine that serves a kind without a container.

    Attributes:
        name: What people call it: "PostgreSQL", "Valkey".
        version: As the program says it: "18.6".
        folder: Absolute path of the folder its executables are in.
        paths: Executable by its role: {"postgres": "/…/bin/postgres", "initdb": "/…/bin/initdb"}; and what else of it
            has a path, as the `packages` of a Python that were found through PYTHONPATH.
    """

    name: str
    version: str
    folder: str
    paths: Mapping[str, str] = field(default_factory=dict)


class Surroundings(NamedTuple):
    """What a kind may know when it says how a service of it runs as a process.

    Attributes:
        program: What was found on this machine for the kind.
        reach: How to reach each service of the environment, the one in question included; passwords are markers.
        listen: The address to listen on.
        folder: The kind's own folder `compose/NAME`.
    """

    program: Program
    reach: Mapping[str, Connection]
    listen: str
    folder: str


@dataclass(frozen=True, slots=True)
class Native:
    """How a kind's service runs as a plain process. It may hold markers of secrets, and `DATA`.

    Attributes:
        arguments: Program (absolute) and arguments.
        environment: Its variables, beside the few every process gets (PATH, HOME, LANG, …).
        stdin: Text the program reads at its start: configuration that holds secrets, so that no argument does.
        stop_signal: Name of the signal that asks it to end with its data intact.
        discard_signal: Name of the signal that ends it fastest, for data nobody will read again.
        data: Whether it has a data folder.
        client: Variables for client programs that are run beside the service (`envctl exec`).
        setup: What the kind's `native.py` must know to prepare that folder.
        unprivileged: Whether it is not to run as root: root starts it as a user without rights.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    stop_signal: str = "SIGTERM"
    discard_signal: str = "SIGKILL"
    data: bool = False
    client: Mapping[str, str] = field(default_factory=dict)
    setup: Mapping[str, str] = field(default_factory=dict)
    unprivileged: bool = False
