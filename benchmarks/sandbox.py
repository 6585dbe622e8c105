"""Where everything happens: a temporary folder with projects and a state directory, all gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.process import BenchmarkError, Finished, run
from benchmarks.tools import PEER, ComposePeer, EnvctlProject, docker

# Nothing else of our environment gets through: a CI's variables, above all, would decide which branch it is.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
)


class Sandbox:
    """Makes projects and peers, and removes what they made.

    Attributes:
        mark: In the names and labels of all that the benchmark makes.
        folder: Holds the projects and the state directory.
        environ: What every measured command gets.
        websocket_image: Of the bundled server; known once `prepare` has run.
    """

    def __init__(self, folder: Path) -> None:
        self.mark = f"envctl-bench-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.websocket_image = ""
        self._envctl = str(Path(sys.executable).with_name("envctl"))
        self._projects: dict[str, EnvctlProject] = {}
        self._peers: list[ComposePeer] = []
        state, temporary = folder / "state", folder / "tmp"
        for path in (state, temporary):
            path.mkdir(mode=0o700)
        self.environ: dict[str, str] = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self.environ |= {"ENVCTL_STATE_DIR": str(state), "TMPDIR": str(temporary)}
        self.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def project(
        self, name: str, config: str | None = None, variables: Mapping[str, str] | None = None
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
            self._projects[name] = EnvctlProject(self._envctl, root, {**self.environ, **(variables or {})})
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
        project = self.project("warm-up")
        project.up().checked()
        self.websocket_image = project.image("websocket")
        project.down().checked()
        peer = self.peer("warm-up")
        peer.up().checked()
        peer.down().checked()

    def close(self) -> None:
        """Remove all of it; raises BenchmarkError where something could not be removed."""
        failures: list[str] = []
        for project in self._projects.values():
            failures += _failure(project.down())
        for peer in self._peers:
            failures += _failure(peer.down())
        self._sweep()
        if failures:
            raise BenchmarkError("left behind:\n" + "\n".join(failures))

    def _sweep(self) -> None:
        """What carries our mark and has no command of its own to remove it: Testcontainers' containers."""
        found = docker(self.environ, "ps", "--all", "--quiet", "--filter", f"label={self.mark}").split()
        if found:
            docker(self.environ, "rm", "--force", "--volumes", *found)


def _failure(done: Finished) -> list[str]:
    return [f"{' '.join(done.argv)}: {done.err}"] if done.code else []


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that is removed however the block ends: done, failed, interrupted or terminated."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="envctl-bench-"))
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


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
