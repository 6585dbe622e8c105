"""What a command imports: each heavy module costs 50 to 200 ms, more than the whole command may take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"python_on_whales", "docker", "httpx", "psycopg", "redis", "pydantic", "structlog", "asyncio"}
SLOW = {"concurrent.futures", "http.client", "urllib.request", "ssl", "importlib.metadata"}

_PROGRAM = """
import json, sys
from envctl.cli.main import run
code = run(json.loads(sys.argv[1]))
sys.stdout.flush()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def _imported(state: Path, *arguments: str) -> tuple[int, set[str]]:
    """Exit code of a call in a fresh interpreter, and the modules it imported."""
    kept = {name: value for name, value in os.environ.items() if name not in {"_ENVCTL_COMPLETE", "PYTHONSTARTUP"}}
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(arguments)],
        capture_output=True,
        text=True,
        env=kept | {"ENVCTL_STATE_DIR": str(state / "state")},
        cwd=state,
        check=True,
    )
    code, modules = json.loads(ended.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("up", "--help"), ("explain",)])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Help texts need neither YAML nor the registry nor an engine."""
    code, modules = _imported(tmp_path, *arguments)
    assert code == 0
    assert not modules & (HEAVY | SLOW | {"yaml"})


def test_help_imports_no_command(tmp_path: Path) -> None:
    """The list of commands is read from the files' first lines."""
    _, modules = _imported(tmp_path, "--help")
    assert not [name for name in modules if name.startswith("envctl.cli.commands.")]
    assert "envctl.environment" not in modules
    assert "sqlite3" not in modules


@pytest.mark.parametrize(
    "arguments", [("env",), ("env", "--format", "shell"), ("env", "--format", "json"), ("url", "postgres")]
)
def test_env_and_url_import_nothing_heavy(recorded_state: Path, arguments: tuple[str, ...]) -> None:
    """They answer from the registry, without configuration and without an engine."""
    code, modules = _imported(recorded_state, *arguments)
    assert code == 0
    assert not modules & (HEAVY | SLOW | {"yaml", "subprocess"})
