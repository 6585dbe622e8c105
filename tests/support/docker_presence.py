"""Whether the tests that need a Docker Engine can run here, and what the whole engine holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NEEDED_IMAGES = ("busybox:latest", "postgres:18", "python:3.13-slim", "redis:7", "redis:8")
_LIMIT_S = 20.0


def docker(*arguments: str, limit_s: float = _LIMIT_S, check: bool = True) -> str:
    """What the `docker` program prints. Raises RuntimeError with its complaint where it fails and `check` is set."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@cache
def missing() -> str | None:
    """What tests of the `engine` marker lack here, in words; None where nothing is missing. Asked once per process."""
    if shutil.which("docker") is None:
        return "there is no docker program"
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return f"no Docker Engine answers ({error})"
    absent = [image for image in NEEDED_IMAGES if not docker("image", "ls", "--quiet", image)]
    return f"images are missing: {', '.join(absent)}; scripts/test-images makes them" if absent else None


@cache
def path_without_docker(folder: Path) -> str:
    """A PATH on which everything is but a docker program.

    Args:
        folder: Where to put links to what stands beside one.
    """
    places: list[str] = []
    for number, place in enumerate(os.environ.get("PATH", os.defpath).split(os.pathsep)):
        if os.access(f"{place}/docker", os.X_OK):
            shadow = folder / f"path-{os.getpid()}-{number}"
            shadow.mkdir(parents=True)
            for program in Path(place).iterdir():
                if not program.name.startswith("docker"):
                    (shadow / program.name).symlink_to(program)
            place = str(shadow)
        places.append(place)
    return os.pathsep.join(places)


@dataclass(frozen=True)
class Thing:
    """A container, network or volume of the engine."""

    noun: str
    id: str
    name: str
    labels: dict[str, str]

    def __str__(self) -> str:
        """As it stands in a list of leaks."""
        return f"{self.noun} {self.name}"


LABELS = (
    *("dev.envctl.registry", "dev.envctl.checkout", "dev.envctl.environment", "dev.envctl.service"),
    "envctl-test",
)
_LISTINGS = {
    "container": (["ps", "--all", "--no-trunc"], ".ID", ".Names"),
    "network": (["network", "ls", "--no-trunc"], ".ID", ".Name"),
    "volume": (["volume", "ls"], ".Name", ".Name"),
}


def things() -> list[Thing]:
    """What the engine holds, with those labels of `LABELS` that each has. The three listings run side by side."""
    calls = [(noun, _listing(arguments, key, name)) for noun, (arguments, key, name) in _LISTINGS.items()]
    found: list[Thing] = []
    for noun, process in calls:
        out, err = process.communicate(timeout=_LIMIT_S)
        if process.returncode != 0:
            raise RuntimeError(f"docker cannot list {noun}s: {err.strip()}")
        for handle, name, *values in map(json.loads, out.splitlines()):
            found.append(Thing(noun, handle, name, {k: v for k, v in zip(LABELS, values, strict=True) if v}))
    return found


def _listing(arguments: list[str], key: str, name: str) -> subprocess.Popen[str]:
    fields = [f"{{{{json {field}}}}}" for field in (key, name)] + [
        f'{{{{json (.Label "{label}")}}}}' for label in LABELS
    ]
    command = ["docker", *arguments, "--format", f"[{','.join(fields)}]"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
