"""Options of all commands that bring an environment up."""

from __future__ import annotations

import click

from envctl.cli.command import Duration

_POLICIES = ("missing", "always", "never")

fresh = click.option("--fresh", is_flag=True, help="Remove what is there first, with its data.")
ttl = click.option(
    "--ttl", "ttl_s", type=Duration(), help="Let `envctl gc` remove it after this time without use: 8h, 7d."
)
pull = click.option(
    "--pull", type=click.Choice(_POLICIES), help="When to ask registries for images of what is started."
)
