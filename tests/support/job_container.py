"""A container of the engine in which a project's envctl runs, as a CI job does that was given the engine's socket.

It has this machine's programs, mounted read-only at their places, so that any image will do: the smallest one is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

from docker_presence import docker
from harness import Project

_REPOSITORY = Path(__file__).resolve().parents[2]
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ssl", "/etc/passwd", "/etc/group")


class JobContainer:
    """The container; leaving the context removes it.

    Args:
        project: Whose job it is. From now on its `run`, `up` and `error` run inside, until the end of the context.
        network: As in `docker run --network`.
        socket: Where the engine's socket is inside.
    """

    def __init__(self, project: Project, *, network: str = "bridge", socket: str = "/var/run/docker.sock") -> None:
        self._project, self._network, self._socket = project, network, socket
        self.id = ""

    def __enter__(self) -> Self:
        folder = self._project.folder
        mounts = [f"/var/run/docker.sock:{self._socket}", f"{folder}:{folder}"]
        mounts += [f"{path}:{path}:ro" for path in _programs()]
        volumes = [word for mount in mounts for word in ("--volume", mount)]
        options = ["--network", self._network, "--label", self._project.own_label, "--init"]
        self.id = docker("run", "--detach", *options, *volumes, "busybox", "sleep", "600").strip()
        self._before = self._project.command
        self._project.command = [*self.command(str(self._project.root)), sys.executable, "-m", "envctl"]
        return self

    def __exit__(self, *_: object) -> None:
        self._project.command = self._before
        docker("rm", "--force", self.id)

    def command(self, folder: str) -> list[str]:
        """What goes before a program so that it runs inside, with the project's variables."""
        variables = {name for name in self._project.environ if not name.startswith("DOCKER_")}
        names = [word for name in sorted(variables) for word in ("--env", name)]
        names += ["--env", f"DOCKER_HOST=unix://{self._socket}", "--env", f"PYTHONPATH={_REPOSITORY}"]
        return ["docker", "exec", "--workdir", folder, *names, self.id]

    def python(self, program: str, *arguments: str) -> str:
        """What a Python program prints inside."""
        command = [*self.command("/"), sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, env=self._project.environ, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _programs() -> list[str]:
    """The folders that hold what envctl and its engine's programs are made of."""
    program = shutil.which("docker")
    assert program is not None
    plugins = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "cli-plugins"
    wanted = [*_SYSTEM, sys.base_prefix, sys.prefix, _REPOSITORY, Path(program).resolve().parent, plugins]
    there = [path for path in dict.fromkeys(map(str, wanted)) if Path(path).exists()]
    return [path for path in there if not any(path.startswith(f"{other}/") for other in there)]
