"""Many environments: list them, remove them."""

from __future__ import annotations

from collections.abc import Mapping

from envctl.report import EnvironmentReport, Progress, Removal


def list_environments(environ: Mapping[str, str]) -> list[EnvironmentReport]:
    """Every environment of this machine's registry, as recorded, corrected by what the engine reports if it answers."""
    raise NotImplementedError


def down_all(environ: Mapping[str, str], *, progress: Progress) -> list[Removal]:
    """Remove every environment of this registry."""
    raise NotImplementedError
