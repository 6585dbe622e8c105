"""The leak oracle: what one test project left behind, on the engine, among the processes, on disk, in the registry.

Only what can be told to be this project's is looked at, so that tests can run side by side: by the label with its
checkout or its registry's id, by the mark in the environment of its processes, by its folders, by the ports and Compose
projects its registry has shown.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from docker_presence import Thing, docker, things
from whole_engine import CHECKOUT, TEST, EventRecorder

MARK = "ENVCTL_TEST_MARK"
REGISTRY = "dev.envctl.registry"
_PORTS = range(20000, 30000)
_LISTENING = "0A"
# What `down` leaves in the state directory, and nothing else: the registry, the locks, room for a full disk, and the
# logs that a failed `up` keeps for `envctl logs`.
_STAYS = ("registry.db", "registry-id", "reserve", "locks/*.lock", "environments/*/failed/*.log")


@dataclass
class Traces:
    """What is known of a project, to tell what is its.

    Attributes:
        mark: Value of ENVCTL_TEST_MARK in its processes.
        folder: Folder of all its files.
        checkout: Its repository.
        state: Its state directory.
        temporary: Its TMPDIR.
        registry_ids: Ids its registry has had.
        ports: Ports its registry has leased.
        stacks: Compose projects its registry has had.
        allowed_files: Patterns, relative to the state directory, of what this test expects there.
        written: Files of the project that the test wrote, and what it wrote.
        events: Which container mounted which volume.
    """

    mark: str
    folder: Path
    checkout: Path
    state: Path
    temporary: Path
    registry_ids: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    stacks: set[str] = field(default_factory=set)
    allowed_files: set[str] = field(default_factory=set)
    written: dict[str, bytes | None] = field(default_factory=dict)
    events: EventRecorder | None = None

    def notice(self) -> None:
        """Learn from the registry as it is now; one that cannot be read teaches nothing."""
        with suppress(sqlite3.Error, OSError):
            for rows, known in (
                (self.rows("SELECT value FROM meta WHERE key = 'registry_id'"), self.registry_ids),
                (self.rows("SELECT port FROM port_leases"), self.ports),
                (self.rows("SELECT project FROM stacks"), self.stacks),
            ):
                known.update(row[0] for row in rows)
        with suppress(OSError):
            self.registry_ids.add((self.state / "registry-id").read_text().strip())

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
        _state_files,
        _temporary_files,
        _rows,
        _project_files,
    )
    traces.notice()
    return [line for kind in kinds for line in kind(traces)]


def owned_objects(traces: Traces) -> list[Thing]:
    """Containers, networks and volumes of the project, unnamed volumes included."""
    mounted = traces.mounted()
    return [thing for thing in things() if traces.owns(thing) or (thing.noun == "volume" and thing.id in mounted)]


def _objects(traces: Traces) -> Iterator[str]:
    for thing in owned_objects(traces):
        yield str(thing)


def _images(traces: Traces) -> Iterator[str]:
    for name in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if any(name.startswith(f"{stack}-") for stack in traces.stacks):
            yield f"image {name}"


def _listeners(traces: Traces) -> Iterator[str]:
    """Ports that this project had and that are still open, unless somebody else's container has them by now."""
    open_ports = {port: inode for port, inode in _listening() if port in _PORTS}
    suspects = {port for port in open_ports if port in traces.ports}
    marked = {pid for pid, _ in _marked(traces)}
    holders = _holders(set(open_ports.values())) if open_ports else {}
    for port, inode in open_ports.items():
        pid = holders.get(inode)
        if pid in marked:
            yield f"listener on port {port}, process {pid}"
        elif port in suspects and _is_proxy(pid) and port not in _published():
            yield f"docker-proxy on port {port}, though no container publishes it"


def _listening() -> Iterator[tuple[int, str]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING:
                    yield int(columns[1].rsplit(":", 1)[1], 16), columns[9]


def _holders(inodes: set[str]) -> dict[str, int]:
    """Socket → the process that holds it; processes of other users cannot be looked into."""
    found: dict[str, int] = {}
    for entry in _proc():
        with suppress(OSError):
            for fd in (entry / "fd").iterdir():
                with suppress(OSError):
                    inode = str(fd.readlink()).removeprefix("socket:[").removesuffix("]")
                    if inode in inodes:
                        found[inode] = int(entry.name)
    return found


def _is_proxy(pid: int | None) -> bool:
    if pid is None:  # another user's, as docker-proxy is for everybody but root
        return True
    with suppress(OSError):
        return "docker-proxy" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _published() -> set[int]:
    return {int(port) for port in re.findall(r":(\d+)->", docker("ps", "--format", "{{.Ports}}"))}


def _processes(traces: Traces) -> Iterator[str]:
    for pid, command in _marked(traces):
        yield f"process {pid}: {command}"


def _marked(traces: Traces) -> Iterator[tuple[int, str]]:
    """Processes that were started with the project's mark, or whose arguments name its folder."""
    mark, folder = f"{MARK}={traces.mark}".encode(), str(traces.folder).encode()
    for entry in _proc():
        if int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ends just now, or is another user's
            command = (entry / "cmdline").read_bytes()
            if mark in (entry / "environ").read_bytes().split(b"\0") or folder in command:
                yield int(entry.name), command.replace(b"\0", b" ").decode(errors="replace")[:200].strip()


def _proc() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _state_files(traces: Traces) -> Iterator[str]:
    for file in _files(traces.state):
        name = file.relative_to(traces.state).as_posix()
        if not any(fnmatch(name, pattern) for pattern in (*_STAYS, *traces.allowed_files)):
            yield f"state file {name}"
    environments = traces.state / "environments"
    for folder in environments.iterdir() if environments.is_dir() else ():
        if folder.is_dir() and not any(_files(folder)):
            yield f"state folder environments/{folder.name}"


def _temporary_files(traces: Traces) -> Iterator[str]:
    for file in traces.temporary.iterdir() if traces.temporary.is_dir() else ():
        yield f"temporary file {file.name}"


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if not file.is_dir())


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
