"""The variables of a real environment, printed by the program and read back by each format's reader."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from dotenv import dotenv_values
from harness import Project

NASTY = {
    "QUOTES": """it's "quoted" `so`""",
    "SPACES": "  two  words  ",
    "DOLLAR": "$HOME ${HOME} $(id) \\$x",
    "LINES": "first\nsecond\n",
    "HASH": "a # b",
    "UNICODE": "ünï ☃",
    "EMPTY": "",
}


@pytest.fixture
def nasty(project: Project) -> dict[str, str]:
    """A running environment that exports values no format may break; its variables."""
    export = "\n".join(f"  {name}: {json.dumps(value.replace('${', '$${'))}" for name, value in NASTY.items())
    project.config(f"services:\n  side: {{image: busybox, command: [sleep, '600']}}\nexport:\n{export}\n")
    variables: dict[str, str] = project.up()["variables"]
    assert {name: variables[name] for name in NASTY} == NASTY
    return variables


def test_every_format_gives_the_same_values(project: Project, nasty: dict[str, str]) -> None:
    """A shell, python-dotenv, JSON and the Actions file give back exactly what `up` reported."""
    assert project.run("env", "--format", "json", check=True).json == nasty
    shell = 'eval "$1"; exec "$2" -c "import json,os; print(json.dumps(dict(os.environ)))"'
    text = project.run("env", "--format", "shell", check=True).out
    read = subprocess.run(["sh", "-c", shell, "sh", text, sys.executable], capture_output=True, text=True, check=True)
    assert nasty.items() <= json.loads(read.stdout).items()
    file = project.folder / "variables.env"
    project.run("env", "--format", "dotenv", "--output", str(file), check=True)
    assert nasty.items() <= dotenv_values(file).items()
