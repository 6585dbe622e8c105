"""The two tools side by side: the same verbs on envctl and on Docker Compose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.process import BenchmarkError, Finished, run

PEER = Path(__file__).with_name("peer")
_UP_LIMIT_S = 900.0  # forty at once on two cores


def docker(environ: Mapping[str, str], *args: str) -> str:
    """What `docker ARGS` prints. Raises BenchmarkError where it fails."""
    return run(["docker", *args], Path("/"), environ).checked().out


def docker_answers(environ: Mapping[str, str]) -> bool:
    """Whether there is an engine, and Compose v2 to use it with."""
    try:
        docker(environ, "version", "--format", "{{.Server.Version}}")
        docker(environ, "compose", "version", "--short")
    except (BenchmarkError, FileNotFoundError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class EnvctlProject:
    """envctl in one checkout.

    Attributes:
        program: The installed console script: what a user starts.
        root: The checkout.
        environ: The command's environment.
        engine: What `up` is told to use, or "" where envctl decides.
    """

    program: str
    root: Path
    environ: Mapping[str, str]
    engine: str = ""

    def argv(self, *args: str) -> list[str]:
        """The command line."""
        return [self.program, *args]

    def run(self, *args: str) -> Finished:
        """Run one command to its end."""
        return run(self.argv(*args), self.root, self.environ, _UP_LIMIT_S)

    @property
    def up_argv(self) -> list[str]:
        """Bring it up, with time enough on a machine that is full."""
        return self.argv("up", *self._how)

    def run_argv(self, *command: str) -> list[str]:
        """Run a command with the environment around it."""
        return self.argv("run", *self._how, "--", *command)

    @property
    def _how(self) -> tuple[str, ...]:
        return (*(("--engine", self.engine) if self.engine else ()), "--timeout", "10m")

    def up(self, variables: Mapping[str, str] | None = None) -> Finished:
        """Bring it up."""
        return run(self.up_argv, self.root, {**self.environ, **(variables or {})}, _UP_LIMIT_S)

    def down(self) -> Finished:
        """Remove it."""
        return self.run("down")

    def image(self, service: str) -> str:
        """The image a service runs."""
        document: dict[str, Any] = yaml.safe_load(self.run("render").checked().out)
        return str(document["services"][service]["image"])

    def logs(self, service: str) -> str:
        """A service's log, each line after the time the engine received it."""
        return _logs(self.environ, service, f"dev.envctl.checkout={self.root}")


@dataclass(frozen=True, slots=True)
class ComposePeer:
    """Docker Compose with a file tuned by hand.

    Attributes:
        name: The Compose project.
        file: The Compose file.
        folder: Where it runs.
        environ: The command's environment, the file's variables included.
    """

    name: str
    file: Path
    folder: Path
    environ: Mapping[str, str]

    def argv(self, *args: str) -> list[str]:
        """The command line."""
        return [
            "docker",
            "compose",
            "--project-name",
            self.name,
            "--file",
            str(self.file),
            "--progress",
            "plain",
            *args,
        ]

    def run(self, *args: str) -> Finished:
        """Run one command to its end."""
        return run(self.argv(*args), self.folder, self.environ, _UP_LIMIT_S)

    def up_argv(self, *services: str) -> list[str]:
        """Bring it up, waiting for the healthchecks."""
        return self.argv("up", "--detach", "--wait", *services)

    def up(self, *services: str, variables: Mapping[str, str] | None = None) -> Finished:
        """Bring it up."""
        return run(self.up_argv(*services), self.folder, {**self.environ, **(variables or {})}, _UP_LIMIT_S)

    def down_argv(self) -> list[str]:
        """Remove it, with its volumes, at once."""
        return self.argv("down", "--volumes", "--timeout", "0")

    def down(self) -> Finished:
        """Remove it."""
        return run(self.down_argv(), self.folder, self.environ, _UP_LIMIT_S)

    def logs(self, service: str) -> str:
        """A service's log, each line after the time the engine received it."""
        return _logs(self.environ, service, f"com.docker.compose.project={self.name}")


def _logs(environ: Mapping[str, str], service: str, label: str) -> str:
    labels = ("--filter", f"label={label}", "--filter", f"label=com.docker.compose.service={service}")
    container = docker(environ, "ps", "--quiet", *labels).strip()
    done = run(["docker", "logs", "--timestamps", container], Path("/"), environ).checked()
    return f"{done.out}\n{done.err}"
