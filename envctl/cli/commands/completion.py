"""Print the completion script of a shell.

It completes commands, options, and the names of this environment's services.

Examples:
  eval "$(envctl completion bash)"
  envctl completion zsh > "${fpath[1]}/_envctl"
  envctl completion fish > ~/.config/fish/completions/envctl.fish
"""

from __future__ import annotations

import click

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.settings import Settings


@command(__doc__, selects=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command_line(_: Settings, shell: str) -> None:
    """Print it."""
    from click.shell_completion import ShellComplete, get_completion_class

    from envctl.cli.group import root
    from envctl.cli.main import COMPLETION_VARIABLE

    kind = get_completion_class(shell)
    if kind is None:  # click knows all three
        raise click.UsageError(f"no completion for {shell}")
    # The base class's method: the one for bash first starts the bash that is here, to look at its version.
    output.write(ShellComplete.source(kind(root(), {}, "envctl", COMPLETION_VARIABLE)) + "\n")
