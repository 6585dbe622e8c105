"""Print the JSON Schema of envctl.yaml, for editors.

Examples:
  envctl schema > envctl.schema.json
  envctl schema | jq '.properties | keys'
"""

from __future__ import annotations

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.settings import Settings


@command(__doc__, selects=False)
def command_line(_: Settings) -> None:
    """Print it."""
    from envctl.host.config.schema import json_schema

    output.write_json(json_schema())
