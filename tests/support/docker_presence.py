"""Whether the tests that need a Docker Engine can run here, and what the whole engine holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

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


_LISTINGS = {
    "container": (["ps", "--all", "--no-trunc", "--format", '{"id":{{json .ID}},"name":{{json .Names}}}'], "container"),
    "network": (["network", "ls", "--no-trunc", "--format", '{"id":{{json .ID}},"name":{{json .Name}}}'], "network"),
    "volume": (["volume", "ls", "--format", '{"id":{{json .Name}},"name":{{json .Name}}}'], "volume"),
}


def things(*filters: str) -> list[Thing]:
    """What the engine holds, with labels. Objects that vanish meanwhile are left out.

    Args:
        filters: As `docker ps --filter` takes them; all must match.
    """
    options = [part for one in filters for part in ("--filter", one)]
    found: list[Thing] = []
    for noun, (listing, inspected) in _LISTINGS.items():
        rows = [json.loads(line) for line in docker(*listing, *options).splitlines()]
        labels = _labels(inspected, [row["id"] for row in rows])
        found += [Thing(noun, row["id"], row["name"], labels[row["id"]]) for row in rows if row["id"] in labels]
    return found


def _labels(noun: str, ids: list[str]) -> dict[str, dict[str, str]]:
    if not ids:
        return {}
    where = ".Config.Labels" if noun == "container" else ".Labels"
    key = ".Name" if noun == "volume" else ".Id"
    template = f'{{"id":{{{{json {key}}}}},"labels":{{{{json {where}}}}}}}'
    text = docker(noun, "inspect", "--format", template, *ids, check=False)
    return {row["id"]: row["labels"] or {} for row in map(json.loads, text.splitlines())}
