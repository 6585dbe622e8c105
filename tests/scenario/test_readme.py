"""The README's session, as a new user would type it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import doc_session
import pytest
from harness import Project

README = Path(__file__).parents[2] / "README.md"


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
    project.allow_files("envctl.yaml", ".envctl.schema.json", ".env.test")  # what the session writes
    (project.root / "node_modules").symlink_to(node_modules)
    assert bool(shutil.which("docker", path=doc_session.path_of(project))) == (engine == "compose")
    shell = doc_session.follow(project, README, limit_s=300)
    assert "python: all three work" in shell.stdout
    assert "node: all three work" in shell.stdout
    assert engine in next(line for line in (project.root / ".env.test").read_text().splitlines() if "_ENGINE" in line)
    assert shell.stderr.count("engine embedded: the docker program is not installed") == (engine == "embedded")
    project.assert_nothing_left()
