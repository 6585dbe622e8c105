"""The commands in the pages of docs/ are carried out as a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Project

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"<!-- (?P<what>session|file: (?P<name>\S+)) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.mark.parametrize(("page", "written"), [("running.md", ["envctl-artifacts/*"]), ("python.md", [])])
def test_page(project: Project, page: str, written: list[str]) -> None:
    """Every command of the page works in a fresh repository, and leaves nothing."""
    blocks = list(_BLOCK.finditer((DOCS / page).read_text("utf-8")))
    for block in blocks:
        if block["name"]:
            project.write(block["name"], block["text"])
    project.allow_files("runs/*", *written)
    script = "set -eu\n" + "\n".join(block["text"] for block in blocks if block["what"] == "session")
    path = f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "-c", script],
        cwd=project.root,
        env={**project.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    project.assert_nothing_left()
