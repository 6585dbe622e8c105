"""Where everything happens: a temporary folder with projects and a state directory, all gone afterwards."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import footprint
from benchmarks.process import BenchmarkError, Finished, run
from benchmarks.tools import PEER, ComposePeer, EnvctlProject, docker, docker_answers
from envctl.conductor.data import preparing
from envctl.host.prepared import Store
from envctl.plan import digest

# Nothing else of our environment gets through: a CI's variables, above all, would decide which branch it is.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
)
_CLOSE_LIMIT_S = 900.0


class Sandbox:
    """Makes projects and peers, and removes what they made.

    Attributes:
        mark: In the names and labels of all that the benchmark makes.
        folder: Holds the projects, the state directory, the cache and the data. Anyone may pass through: where we are
            root, servers run as another user.
        environ: What every measured command gets.
        state: envctl's state directory.
        helpers: Where peers that need no container have their data.
        docker: Whether containers can be measured here.
        websocket_image: Of the bundled server; known once `prepare` has run.
    """

    def __init__(self, folder: Path) -> None:
        self.mark = f"envctl-bench-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.websocket_image = ""
        self._envctl = str(Path(sys.executable).with_name("envctl"))
        self._projects: dict[str, EnvctlProject] = {}
        self._peers: list[ComposePeer] = []
        self._embedded_is_warm = False
        self.state, temporary, run_root = folder / "state", folder / "tmp", folder / "run"
        self.helpers = folder / "helpers"
        for path, mode in ((self.state, 0o700), (temporary, 0o700), (run_root, 0o711), (self.helpers, 0o711)):
            path.mkdir()
            path.chmod(mode)  # whatever the umask is
        self.environ: dict[str, str] = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self.environ |= {"ENVCTL_STATE_DIR": str(self.state), "TMPDIR": str(temporary)}
        self.environ |= {"ENVCTL_CACHE_DIR": str(folder / "cache"), "ENVCTL_RUN_DIR": str(run_root)}
        self.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        self.docker = docker_answers(self.environ)

    @property
    def engines(self) -> tuple[str, ...]:
        """Those that can be measured here."""
        return ("compose", "embedded") if self.docker else ("embedded",)

    @property
    def testcontainers_environ(self) -> dict[str, str]:
        """What programs that use Testcontainers get; `peer/testcontainers_pair.py` reads the mark."""
        settings = {"TESTCONTAINERS_RYUK_DISABLED": "true", "TC_POOLING_INTERVAL": "0.1", "TC_MAX_TRIES": "1200"}
        return {**self.environ, **settings, "BENCHMARK_MARK": self.mark}

    def project(
        self, name: str, config: str | None = None, variables: Mapping[str, str] | None = None, engine: str = ""
    ) -> EnvctlProject:
        """A git repository on a branch of its own; `config` names a file of `configs/`, None is zero configuration.

        The same name gives the same project.
        """
        if name not in self._projects:
            root = self.folder / name
            root.mkdir()
            run(["git", "init", "--quiet", f"--initial-branch=feature/{name}"], root, self.environ).checked()
            if config:
                shutil.copy(Path(__file__).with_name("configs") / config, root / "envctl.yaml")
            self._projects[name] = EnvctlProject(self._envctl, root, {**self.environ, **(variables or {})}, engine)
        return self._projects[name]

    def peer(self, name: str, file: str = "compose.yaml", variables: Mapping[str, str] | None = None) -> ComposePeer:
        """A Compose project with a file of `peer/`."""
        settings = {f"{service}_PASSWORD": uuid.uuid4().hex for service in ("POSTGRES", "REDIS")}
        settings |= {"WEBSOCKET_TOKEN": uuid.uuid4().hex, "WEBSOCKET_IMAGE": self.websocket_image}
        environ = {**self.environ, **settings, **(variables or {})}
        peer = ComposePeer(f"{self.mark}-{name}", PEER / file, self.folder, environ)
        self._peers.append(peer)
        return peer

    def prepare(self) -> None:
        """What must not be measured: byte code, the bundled server's image, and every program once read from disk."""
        package = Path(__file__).parent.parent / "envctl"
        run([sys.executable, "-m", "compileall", "-q", str(package)], self.folder, self.environ).checked()
        if self.docker:
            self._prepare_docker()

    def prepare_embedded(self) -> None:
        """The same without containers: a cluster in the cache, every program once read from disk."""
        if not self._embedded_is_warm:
            project = self.project("embedded-warm-up", engine="embedded")
            project.up().checked()
            project.down().checked()
            self._embedded_is_warm = True

    def _prepare_docker(self) -> None:
        project = self.project("warm-up")
        project.up().checked()
        if '"ENVCTL_ENGINE": "compose"' not in project.run("env", "--format", "json").checked().out:
            raise BenchmarkError("Docker answers, but envctl does not use it: see `envctl doctor`")
        self.websocket_image = project.image("websocket")
        project.down().checked()
        peer = self.peer("warm-up")
        peer.up().checked()
        peer.down().checked()

    def close(self) -> None:
        """Remove all of it; raises BenchmarkError where something could not be removed."""
        failures: list[str] = []
        if self._projects:
            failures += _failure(run([self._envctl, "down", "--all"], self.folder, self.environ, _CLOSE_LIMIT_S))
            failures += self._forget_prepared()
        for peer in self._peers:
            failures += _failure(peer.down())
        self._sweep_peers()
        failures += [f"process {pid}: {_end(pid, self.folder)}" for pid in footprint.mentioning(str(self.folder))]
        if failures:
            raise BenchmarkError("left behind:\n" + "\n".join(failures))

    def _forget_prepared(self) -> list[str]:
        """Remove prepared data: of that of containers, images would stay."""
        removed = {one.key: preparing.remove(self.environ, one.key) for one in Store(self.environ).all()}
        return [f"prepared data {key}" for key, one in removed.items() if one is None]

    def _sweep_peers(self) -> None:
        """What has no command of its own to remove it: the servers and containers of interrupted peers."""
        for pid in footprint.mentioning(str(self.helpers)):
            _end(pid, self.helpers)
        if not self.docker:
            return
        found = docker(self.environ, "ps", "--all", "--quiet", "--filter", f"label={self.mark}").split()
        if found:
            docker(self.environ, "rm", "--force", "--volumes", *found)
        # An `up` that was ended while it kept data may leave an image; envctl would sweep it after an hour.
        store = digest.of([os.uname().nodename, str(self.folder / "cache" / "prepared")])
        images = docker(self.environ, "image", "ls", "--quiet", "--filter", f"label=dev.envctl.store={store}").split()
        if images:
            docker(self.environ, "image", "rm", *images)


def _end(pid: int, folder: Path) -> str:
    """Kill a process of this folder and wait for that; what it was."""
    with suppress(ProcessLookupError, PermissionError):
        process = os.pidfd_open(pid)
        try:
            if pid in footprint.mentioning(str(folder)):  # so the handle is not another one's
                signal.pidfd_send_signal(process, signal.SIGKILL)
                select.select([process], [], [], 5.0)
        finally:
            os.close(process)
    return f"of {folder.name}, killed"


def _failure(done: Finished) -> list[str]:
    return [f"{' '.join(done.argv)}: {done.err}"] if done.code else []


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that is removed however the block ends: done, failed, interrupted or terminated."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="envctl-bench-", dir=_passable()))
    folder.chmod(0o711)
    place = Sandbox(folder)
    try:
        yield place
    finally:
        impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave containers behind
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            place.close()
        finally:
            with suppress(OSError):
                shutil.rmtree(folder)
            signal.signal(signal.SIGINT, impatient)
            signal.signal(signal.SIGTERM, previous)


def _passable() -> Path:
    """A folder for temporary files that any user can enter, if there is one."""
    places = [Path(place).resolve() for place in (tempfile.gettempdir(), "/var/tmp", "/tmp")]
    fit = [place for place in places if all(each.stat().st_mode & 0o001 for each in (place, *place.parents))]
    return (fit or places)[0]


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
