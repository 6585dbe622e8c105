"""Images of prepared data on the engine: those of this test session go with it."""

from __future__ import annotations

import json
from pathlib import Path

from docker_presence import docker


def of_session(folder: Path) -> list[str]:
    """Those that the stores below the session's folder know.

    Args:
        folder: Where the session's caches and state directories are.
    """
    found: list[str] = []
    for meta in folder.rglob("prepared/*/meta.json"):
        sources = json.loads(meta.read_bytes())["sources"].values()
        found += [source for source in sources if source.startswith("envctl-prepared:")]
    return found


def of_same_store(reference: str) -> set[str]:
    """All images on the engine that were made for the store that this one was made for."""
    form = '{{index .Config.Labels "dev.envctl.store"}}'
    store = docker("image", "inspect", "--format", form, reference).strip()
    wanted = f"label=dev.envctl.store={store}"
    return set(docker("image", "ls", "--filter", wanted, "--format", "{{.Repository}}:{{.Tag}}").split())


def remove(references: list[str]) -> None:
    """Remove images; what is gone already is fine."""
    if references:
        docker("image", "rm", *references, check=False, limit_s=120)
