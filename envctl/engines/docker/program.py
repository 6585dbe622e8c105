"""Where the `docker` program is. A file of its own: that there is none must be known before anything is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

from envctl.errors import EngineNotInstalled


def find(environ: Mapping[str, str]) -> str:
    """Absolute path of `docker`. Relative entries of PATH are skipped: a checkout must not choose the program.

    Raises:
        EngineNotInstalled: It is not there.
    """
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder}/docker"
        if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - quick
            return path
    raise EngineNotInstalled(
        "the docker program is not installed, or not on PATH",
        fix=["install Docker Engine with the Compose plugin", "or add the folder of `docker` to PATH"],
        state="nothing was created",
    )
