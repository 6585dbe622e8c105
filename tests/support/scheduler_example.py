"""The example with 40 tables in a repository of its own, and the sessions of its README."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import typescript_example
from doc_session import path_of
from harness import Project
from pytest_runs import tidy

EXAMPLE = Path(__file__).parents[2] / "examples" / "scheduler"
TESTS_OF_PYTEST = 69
TESTS_OF_VITEST = 16
_SESSION = re.compile(r"<!-- session -->\n```sh\n(?P<text>.*?)```", re.DOTALL)
_NOT_COPIED = {".pytest_cache", "__pycache__", "node_modules"}


def put_into(project: Project, *, node: bool = False) -> Project:
    """Make the project's repository the example, on request with the packages of its TypeScript half."""
    for file in sorted(EXAMPLE.rglob("*")):
        name = file.relative_to(EXAMPLE)
        if file.is_file() and not _NOT_COPIED & set(name.parts):
            project.write(name.as_posix(), file.read_text("utf-8"))
    if node:  # its packages are some of those of the other example: a test holds that
        (project.root / "ts" / "node_modules").symlink_to(typescript_example.packages())
        project.allow_files("ts/node_modules")
        project.environ["TMPDIR"] = str(typescript_example.packages().parent)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=the example")
    return project


def run_pytest_session(project: Project, engine: str, *, runs: int) -> None:
    """One after the other in one environment; fails unless all tests pass each time."""
    once, _, again, _ = _sessions()
    assert once == "pip install --group test\npytest -n 4\n"  # those of this repository are used
    out = _shell(project, _shorter(again, engine, runs))
    assert _passed(out, r"(\d+) passed in") == [TESTS_OF_PYTEST] * runs, out
    project.assert_nothing_left()


def run_vitest_session(project: Project, engine: str, *, runs: int) -> None:
    """The same for the other suite."""
    _, once, _, again = _sessions()
    assert once == "cd ts\nnpm ci\nnpm test\n"
    out = _shell(project, _shorter(again, engine, runs))
    assert _passed(out, r"Tests +(\d+) passed") == [TESTS_OF_VITEST] * runs, out
    project.assert_nothing_left()


def _sessions() -> list[str]:
    return [found["text"] for found in _SESSION.finditer((EXAMPLE / "README.md").read_text("utf-8"))]


def _shorter(session: str, engine: str, runs: int) -> str:
    assert "$(seq 50)" in session
    assert "|| break" in session
    shorter = session.replace("$(seq 50)", f"$(seq {runs})").replace("|| break", "|| exit 1")
    return shorter.replace("envctl up", f"envctl up --engine {engine}")


def _passed(out: str, pattern: str) -> list[int]:
    return [int(number) for number in re.findall(pattern, out)]


def _shell(project: Project, script: str) -> str:
    """What a script prints, with envctl, pytest and Node.js on its PATH; it must succeed."""
    settings = {**tidy(project), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take longer than the tests
    settings["PYTEST_ADDOPTS"] += " -p envctl -p xdist -p randomly"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"],
        cwd=project.root,
        env={**project.environ, **settings, "PATH": path_of(project), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    project.traces.notice()
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + os.linesep + done.stderr
