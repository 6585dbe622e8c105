"""Programs for child processes: the whole command line in a process of its own, with a substituted conductor."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent

PROGRAM = """
import select, sys
sys.path.insert(0, {here!r})
from cli_samples import ENVIRONMENT_FUNCTIONS, Conductor, report
from envctl import environment
from envctl.errors import EnvctlError, Interrupted
from envctl.host.signals import shielded
conductor = Conductor()
for name in ENVIRONMENT_FUNCTIONS:
    setattr(environment, name, getattr(conductor, name))
def say(text):
    print(text, flush=True)
def wait_for_input():
    # A plain read would not notice a signal that arrives just before it blocks; this looks again and again.
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        pass
{code}
from envctl.cli.main import main
main()
"""


def command(code: str, *arguments: str) -> list[str]:
    """The command line of such a child; `code` changes the conductor first."""
    return [sys.executable, "-c", PROGRAM.format(here=str(HERE), code=code), *arguments]


def environment(state: Path, **changes: str) -> Mapping[str, str]:
    """Its environment variables."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "LC_ALL", "LC_CTYPE"}}
    return kept | {"ENVCTL_STATE_DIR": str(state), "TERM": "xterm", "LANG": "C.UTF-8"} | changes
