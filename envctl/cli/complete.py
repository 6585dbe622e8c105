"""Completing service names in a shell: from the registry only, quickly, and silent when that fails."""

from __future__ import annotations

import click

from envctl.cli.settings import Settings


def complete_services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """Names of the environment's services that begin with what was typed."""
    try:
        from envctl import environment

        report = environment.recorded(ctx.ensure_object(Settings).selection(), dirty_too=True)
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's typing helps nobody
        return []
    return [name for name in report.services if name.startswith(incomplete)]
