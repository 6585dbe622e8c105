"""A page of the documentation, done as a reader would: its files written, its sessions typed into one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness import Project

_BLOCK = re.compile(r"<!-- (?P<what>session|file: (?P<name>\S+)) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


def path_of(project: Project) -> str:
    """The reader's PATH: envctl is installed."""
    return f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}"


def follow(project: Project, page: Path, *, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Do what the page says in the project's folder; fails where a command does."""
    blocks = list(_BLOCK.finditer(page.read_text("utf-8")))
    for block in blocks:
        if block["name"]:
            project.write(block["name"], block["text"])
    script = "set -eu\n" + "\n".join(block["text"] for block in blocks if block["what"] == "session")
    shell = subprocess.run(
        ["bash", "-c", script],
        cwd=project.root,
        env={**project.environ, "PATH": path_of(project)},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    return shell
