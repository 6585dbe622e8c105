"""Print a CI job that runs this repository's tests.

It brings the services up around the tests and removes them again, whatever happens. It is filled from what is there:
package.json, pyproject.toml, requirements, lock files. It is yours then: read it and change it.

Examples:
  envctl ci github
  envctl ci github --output .github/workflows/tests.yml
  envctl ci gitlab --output .gitlab-ci.yml --force
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from envctl import __version__
from envctl.cli import output, repository_files
from envctl.cli.command import command
from envctl.cli.settings import Settings, current_folder
from envctl.host.terminal import escape

_SYSTEMS = ("github", "gitlab")


@command(__doc__, selects=False)
@click.argument("system", metavar=f"{{{'|'.join(_SYSTEMS)}}}", type=click.Choice(_SYSTEMS))
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command_line(settings: Settings, system: str, file: Path | None, *, force: bool) -> None:  # noqa: ARG001 - as every command
    """Print it."""
    text = _job(system)
    if file is None:
        output.write(text)
        return
    path = current_folder() / file
    if not force:
        fix = [f"envctl ci {system} --output {file} --force replaces it", f"envctl ci {system} prints it"]
        repository_files.refuse_overwriting(path.parent, [path.name], fix)
    repository_files.write(path, text)
    output.write(f"wrote {escape(str(path))}\n")


def _job(system: str) -> str:
    from envctl.host.config.testing import look
    from envctl.host.git import find_checkout
    from envctl.plan.ci import github, gitlab

    repository = look(Path(find_checkout(current_folder(), os.environ).root))
    made = {"github": github.workflow, "gitlab": gitlab.pipeline}
    return made[system](repository, __version__)
