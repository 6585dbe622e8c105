"""The TypeScript example in a repository of its own, and the session of its README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from harness import Project
from whole_engine import session_folder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "typescript"
_SESSION = re.compile(r"<!-- session -->\n```sh\n(?P<text>.*?)```", re.DOTALL)
_NOT_COPIED = ("node_modules",)

NEEDS = [
    pytest.mark.node,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("npm") is None, reason="NOT TESTED: there is no npm on this machine"),
]


@cache
def packages() -> Path:
    """The example's packages, installed once per process of the tests as its lock file has them."""
    root = session_folder() / f"typescript-{os.getpid()}"
    folder = root / EXAMPLE.relative_to(ROOT)
    folder.mkdir(parents=True)
    (root / "js").symlink_to(ROOT / "js")  # its package.json names it relative to itself
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(EXAMPLE / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "node_modules"


def put_into(project: Project) -> Project:
    """Make the project's repository the example, with its packages."""
    for file in sorted(EXAMPLE.rglob("*")):
        name = file.relative_to(EXAMPLE)
        if file.is_file() and name.parts[0] not in _NOT_COPIED:
            project.write(name.as_posix(), file.read_text("utf-8"))
    (project.root / "node_modules").symlink_to(packages())
    project.allow_files("node_modules")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=the example")
    project.environ["TMPDIR"] = str(packages().parent)  # tsx keeps what it has compiled there
    return project


def shell(project: Project, script: str) -> str:
    """What a script prints, with envctl and Node.js on its PATH; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"],
        cwd=project.root,
        env={**project.environ, "PATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    project.traces.notice()
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_session(project: Project, engine: str) -> None:
    """The README's commands, and the edit it speaks of; fails unless each does what the README says."""
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    alone, before, after = [found["text"] for found in _SESSION.finditer(readme)]
    assert alone.startswith("npm ci\n")  # done by `packages`
    by_set_up, by_run = alone.removeprefix("npm ci\n").splitlines()
    # What brings up is the same program; that it is called from outside shows on either engine.
    for command in (by_set_up, by_run) if engine == "embedded" else (by_set_up,):
        assert tests_pass(shell(project, command)), command
        project.assert_nothing_left()
    assert tests_pass(shell(project, before.replace("envctl up", f"envctl up --engine {engine}")))
    server, databases = project.first_processes()["api"], databases_of(project)
    assert databases.keys() == {"postgres", "redis"}
    source = (project.root / "src" / "main.ts").read_text("utf-8")
    project.write("src/main.ts", source + 'console.log("edited");\n')
    looks, down = after.split("envctl down")
    out = shell(project, "envctl up --dry-run\n" + looks)
    starts = [line.split()[2:] for line in out.splitlines() if " start " in line]
    assert starts == [["start", "api", "changed:", "inputs"]], out
    assert f"engine {engine}" in out
    assert "edited" in out
    assert tests_pass(out)
    assert project.first_processes()["api"] != server
    assert databases_of(project) == databases
    shell(project, f"envctl down{down}")
    project.assert_nothing_left()


def tests_pass(out: str) -> bool:
    """Whether that is what vitest says of the example's tests."""
    return re.search(r"Tests +9 passed", out) is not None


def databases_of(project: Project) -> dict[str, object]:
    """Service → what is different after each of its starts, for Postgres and Redis."""
    return {name: instance for name, instance in project.instances().items() if name != "api"}
