"""The leak oracle: what one test project left behind, on the engine, among the processes, on disk, in the registry.

Only what can be told to be this project's is looked at, so that tests can run side by side: by the label with its
checkout or its registry's id, by the mark in the environment of its processes or the cookie of its stacks, by its
folders, by the ports and Compose projects its registry has shown, by what its servers wrote down of themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import process_table
from docker_presence import Thing, docker, things
from process_table import Process
from whole_engine import CHECKOUT, TEST, EventRecorder

MARK = "ENVCTL_TEST_MARK"
REGISTRY = "dev.envctl.registry"
_PORTS = range(20000, 30000)
# What `down` leaves in the state directory, and nothing else: the registry, the locks, room for a full disk, and the
# logs that a failed `up` keeps for `envctl logs`.
_STAYS = ("registry.db", "registry-id", "reserve", "locks/*.lock", "environments/*/failed/*.log")
_JOURNAL = "registry.db-journal"


@dataclass
class Traces:
    """What is known of a project, to tell what is its.

    Attributes:
        mark: Value of ENVCTL_TEST_MARK in its processes.
        folder: Folder of all its files.
        checkout: Its repository.
        state: Its state directory.
        temporary: Its TMPDIR.
        run: Its ENVCTL_RUN_DIR.
        containers: Whether it may have things on a Docker Engine.
        registry_ids: Ids its registry has had.
        ports: Ports its registry has leased.
        stacks: Compose projects its registry has had.
        stack_ids: Ids of the stacks it has had.
        servers: Its services' first processes, and when they were started.
        memory: Ids of the shared memory that its servers had.
        allowed_files: Patterns, relative to the state directory, of what this test expects there.
        written: Files of the project that the test wrote, and what it wrote.
        events: Which container mounted which volume.
    """

    mark: str
    folder: Path
    checkout: Path
    state: Path
    temporary: Path
    run: Path
    containers: bool = True
    registry_ids: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    stacks: set[str] = field(default_factory=set)
    stack_ids: set[str] = field(default_factory=set)
    servers: dict[int, int] = field(default_factory=dict)
    memory: set[int] = field(default_factory=set)
    allowed_files: set[str] = field(default_factory=set)
    written: dict[str, bytes | None] = field(default_factory=dict)
    events: EventRecorder | None = None

    def notice(self) -> None:
        """Learn from the registry and the files as they are now; what cannot be read teaches nothing."""
        self._notice_processes()
        with suppress(sqlite3.Error, OSError):
            for rows, known in (
                (self.rows("SELECT value FROM meta WHERE key = 'registry_id'"), self.registry_ids),
                (self.rows("SELECT port FROM port_leases"), self.ports),
                (self.rows("SELECT project FROM stacks"), self.stacks),
                (self.rows("SELECT id FROM stacks"), self.stack_ids),
            ):
                known.update(row[0] for row in rows)
        with suppress(OSError):
            self.registry_ids.add((self.state / "registry-id").read_text().strip())

    def _notice_processes(self) -> None:
        """Learn from what envctl and the servers wrote down."""
        for file in (self.state / "stacks").glob("*/*/process.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                process = json.loads(file.read_bytes())["process"]
                self.servers[int(process["pid"])] = int(process["start_ticks"])
        for file in (*self.state.glob("stacks/*/*/data/postmaster.pid"), *self.run.glob("*/*/*/postmaster.pid")):
            with suppress(OSError, ValueError, IndexError):
                self.memory.add(int(file.read_text().splitlines()[6].split()[1]))
        self.stack_ids.update(folder.name for folder in (self.state / "stacks").glob("*"))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Rows of the registry, read only. Raises sqlite3.Error where it is damaged; none where it is not there."""
        file = self.state / "registry.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return []  # it is being made just now
            return connection.execute(query).fetchall()

    def owns(self, thing: Thing) -> bool:
        """Whether an object of the engine is this project's."""
        return self._labels_are_ours(thing.labels) or thing.labels.get(TEST) == self.mark

    def _labels_are_ours(self, labels: dict[str, str]) -> bool:
        return labels.get(REGISTRY) in self.registry_ids or self.is_below(labels.get(CHECKOUT, ""))

    def is_below(self, path: str) -> bool:
        """Whether a path is one of the project's files."""
        return path == str(self.folder) or path.startswith(f"{self.folder}/")

    def mounted(self) -> set[str]:
        """Volumes, named or not, that containers of this project have mounted."""
        if self.events is None:
            return set()
        return {
            volume
            for volume, labels in self.events.mounts().items()
            if self._labels_are_ours(labels) or labels.get(TEST) == self.mark
        }


def find(traces: Traces) -> list[str]:
    """Everything that is left, one line each; empty where nothing is."""
    kinds: tuple[Callable[[Traces], Iterable[str]], ...] = (
        _objects,
        _images,
        _listeners,
        _processes,
        _memory,
        _run_root,
        _state_files,
        _temporary_files,
        _rows,
        _project_files,
    )
    traces.notice()
    return [line for kind in kinds for line in kind(traces)]


def owned_objects(traces: Traces) -> list[Thing]:
    """Containers, networks and volumes of the project, unnamed volumes included, and those that lost their labels."""
    if not traces.containers:
        return []
    mounted = traces.mounted()

    def ours(thing: Thing) -> bool:
        named = any(thing.name.startswith(f"{stack}_") for stack in traces.stacks)
        return traces.owns(thing) or (thing.noun == "volume" and (thing.id in mounted or named))

    return [thing for thing in things() if ours(thing)]


def _objects(traces: Traces) -> Iterator[str]:
    for thing in owned_objects(traces):
        yield str(thing)


def _images(traces: Traces) -> Iterator[str]:
    if not traces.containers:
        return
    for name in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if any(name.startswith(f"{stack}-") for stack in traces.stacks):
            yield f"image {name}"


def processes(traces: Traces) -> dict[int, Process]:
    """The processes of the project that have not ended."""
    return process_table.belonging(f"{MARK}={traces.mark}", traces.folder, traces.stack_ids)


def _listeners(traces: Traces) -> Iterator[str]:
    """Ports that this project had and that are still open, unless somebody else has them by now."""
    suspects = [(port, inode) for port, inode in process_table.listening() if port in _PORTS or port in traces.ports]
    ours = processes(traces)
    holders = process_table.holders({inode for _, inode in suspects}) if suspects else {}
    for port, inode in suspects:
        pid = holders.get(inode)
        if pid in ours:
            yield f"listener on port {port}, process {pid}"
        elif traces.containers and port in traces.ports and _is_proxy(pid) and port not in _published():
            yield f"docker-proxy on port {port}, though no container publishes it"


def _is_proxy(pid: int | None) -> bool:
    if pid is None:  # another user's, as docker-proxy is for everybody but root
        return True
    with suppress(OSError):
        return "docker-proxy" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _published() -> set[int]:
    return {int(port) for port in re.findall(r":(\d+)->", docker("ps", "--format", "{{.Ports}}"))}


def _processes(traces: Traces) -> Iterator[str]:
    for pid, process in processes(traces).items():
        yield f"process {pid}: {process.command[:200]}"


def _memory(traces: Traces) -> Iterator[str]:
    for segment in process_table.memory_of(traces.memory, traces.servers):
        yield f"shared memory {segment.id} ({segment.size} bytes, made by process {segment.creator})"


def _run_root(traces: Traces) -> Iterator[str]:
    """Data that lies outside of the state directory; copies of programs are no data."""
    for entry in sorted(traces.run.iterdir()) if traces.run.is_dir() else ():
        services: list[str] = []
        with suppress(FileNotFoundError):  # somebody removes it just now
            services = [str(path.relative_to(traces.run)) for path in sorted(entry.glob("*/*"))]
        if entry.name != "programs":
            yield f"data {', '.join(services) or entry.name}"


def _state_files(traces: Traces) -> Iterator[str]:
    for file in _files(traces.state):
        name = file.relative_to(traces.state).as_posix()
        if name == _JOURNAL and not _is_hot(file):
            continue
        if not any(fnmatch(name, pattern) for pattern in (*_STAYS, *traces.allowed_files)):
            yield f"state file {name}"
    for folder in (*traces.state.glob("environments/*"), *traces.state.glob("stacks/*")):
        if folder.is_dir() and not any(_files(folder)):
            yield f"state folder {folder.relative_to(traces.state)}"


def _is_hot(journal: Path) -> bool:
    """Whether SQLite has anything to take back by it; what a `kill -9` has left before that goes with the next change.

    Source: "File Locking And Concurrency In SQLite Version 3", on hot journals: the header of one is not zero.
    """
    with suppress(FileNotFoundError):
        return journal.read_bytes()[:1] not in (b"", b"\0")
    return False


def _temporary_files(traces: Traces) -> Iterator[str]:
    for file in traces.temporary.iterdir() if traces.temporary.is_dir() else ():
        yield f"temporary file {file.name}"


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, which somebody may be removing just now."""
    return iter(sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names))


def _rows(traces: Traces) -> Iterator[str]:
    """Rows that promise something: environments, stacks, ports and subnets that are held."""
    queries = {
        "environment": "SELECT name || ' (' || state || ')' FROM environments",
        "stack": "SELECT project FROM stacks",
        "port lease": "SELECT port FROM port_leases WHERE state = 'held'",
        "subnet lease": "SELECT subnet FROM subnet_leases WHERE state = 'held'",
    }
    for noun, query in queries.items():
        try:
            for (value,) in traces.rows(query):
                yield f"{noun} {value} in the registry"
        except sqlite3.Error as error:
            yield f"the registry cannot be read: {error}"
            return


def _project_files(traces: Traces) -> Iterator[str]:
    """Files of the checkout that are neither as they were committed nor as the test wrote them."""
    for file in _files(traces.checkout) if traces.checkout.is_dir() else ():
        name = file.relative_to(traces.checkout).as_posix()
        if name.startswith(".git/") or name == ".git" or any(fnmatch(name, p) for p in traces.allowed_files):
            continue
        if name not in traces.written:
            yield f"project file {name} is new"
        elif traces.written[name] is not None and file.read_bytes() != traces.written[name]:
            yield f"project file {name} was changed"


def force_away(traces: Traces) -> None:
    """End and remove what was found, so that the next test is not disturbed by it. Complains of nothing."""
    for thing in owned_objects(traces):
        remove_thing(thing)
    for pid in processes(traces):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for segment in process_table.memory_of(traces.memory, traces.servers):
        process_table.remove_memory(segment)
    for folder in (traces.state / "stacks", traces.run):
        shutil.rmtree(folder, ignore_errors=True)


def remove_thing(thing: Thing) -> None:
    """Remove a container, network or volume of the engine. Complains of nothing."""
    with suppress(RuntimeError, subprocess.TimeoutExpired):
        if thing.noun == "container":
            docker("rm", "--force", "--volumes", thing.id)
        else:
            docker(thing.noun, "rm", thing.id)
