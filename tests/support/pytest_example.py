"""The example for pytest in a repository of its own, and the session of its README."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from doc_session import path_of
from harness import Project
from pytest_runs import tidy

EXAMPLE = Path(__file__).parents[2] / "examples" / "pytest"
_SESSION = re.compile(r"<!-- session -->\n```sh\n(?P<text>.*?)```", re.DOTALL)
_SUMMARY = re.compile(r"^envctl: \S+ \((?P<engine>\w+)\) was ready in .* s; (?P<fate>.*)$", re.MULTILINE)


def put_into(project: Project) -> Project:
    """Make the project's repository the example."""
    for file in sorted(EXAMPLE.rglob("*")):
        name = file.relative_to(EXAMPLE)
        if file.is_file() and not {".pytest_cache", "__pycache__"} & set(name.parts):
            project.write(name.as_posix(), file.read_text("utf-8"))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=the example")
    return project


def shell(project: Project, script: str) -> str:
    """What a script prints, with envctl and pytest on its PATH; it must succeed."""
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"],
        cwd=project.root,
        env={**project.environ, **tidy(project, quick=True), "PATH": path_of(project)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    project.traces.notice()
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_session(project: Project, engine: str) -> None:
    """The README's commands; fails unless each does what the README says."""
    first, second = [found["text"] for found in _SESSION.finditer((EXAMPLE / "README.md").read_text("utf-8"))]
    assert first.startswith("pip install --group test\n")  # those of this repository are used
    out = shell(project, first.removeprefix("pip install --group test\n"))
    assert "10 passed in" in out, out  # and nothing to be warned of
    assert [found.groups() for found in _SUMMARY.finditer(out)] == [(engine, "removed")]
    project.assert_nothing_left()

    out = shell(project, second.replace("envctl up", f"envctl up --engine {engine}"))
    assert [int(number) for number in re.findall(r"(\d+) passed", out)] == [10, 6]
    assert [found.groups() for found in _SUMMARY.finditer(out)] == [(engine, "left up, as it was before")] * 2
    project.assert_nothing_left()
