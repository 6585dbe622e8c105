"""The README's session, as a new user would type it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
_BLOCK = re.compile(r"<!-- (?P<what>session|file: (?P<name>\S+)) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node clients of the README, installed."""
    if not shutil.which("npm"):
        pytest.skip("no Node.js on this machine")
    folder = tmp_path_factory.mktemp("node")
    command = [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        "pg@8",
        "redis@5",
        "ws@8",
    ]
    subprocess.run(command, check=True, timeout=170)
    return folder / "node_modules"


@pytest.mark.node
@pytest.mark.timeout(400)
@pytest.mark.parametrize("engine", ["compose", "embedded"])
def test_readme_session(make_project: Callable[..., Project], node_modules: Path, engine: str) -> None:
    """Every command of the README works in a fresh repository, for Python and Node clients, and leaves nothing.

    Whether there is Docker decides alone which engine it runs on: nothing else is different.
    """
    project = make_project(engine=engine)
    blocks = list(_BLOCK.finditer(README))
    for block in blocks:
        if block["name"]:
            project.write(block["name"], block["text"])
    project.allow_files("envctl.yaml", ".envctl.schema.json", ".env.test")  # what the session writes
    (project.root / "node_modules").symlink_to(node_modules)
    script = "set -eu\n" + "\n".join(block["text"] for block in blocks if block["what"] == "session")
    path = f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}"
    assert bool(shutil.which("docker", path=path)) == (engine == "compose")
    shell = subprocess.run(
        ["bash", "-c", script],
        cwd=project.root,
        env={**project.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert "python: all three work" in shell.stdout
    assert "node: all three work" in shell.stdout
    assert engine in next(line for line in (project.root / ".env.test").read_text().splitlines() if "_ENGINE" in line)
    assert shell.stderr.count("engine embedded: the docker program is not installed") == (engine == "embedded")
    project.assert_nothing_left()
