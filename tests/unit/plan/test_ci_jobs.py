"""The jobs that `envctl ci` prints: valid by the systems' own schemas, with scripts that shells accept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from github_runner import alternative

from envctl.plan.ci import github, gitlab
from envctl.plan.ci.repository import Node, Python, Repository

BIN = Path(sys.executable).parent
REPOSITORIES = {
    "nothing": Repository(),
    "make": Repository(make=True),
    "npm": Repository(node=Node(locked=True, version_file="package.json")),
    "npm without a lock file": Repository(node=Node()),
    "pnpm": Repository(node=Node("pnpm", locked=True, version_file=".nvmrc", version="22")),
    "yarn": Repository(node=Node("yarn", locked=True)),
    "yarn 4": Repository(node=Node("yarn", locked=True, modern_yarn=True)),
    "bun, no tests": Repository(node=Node("bun", locked=True, tested=False)),
    "pip": Repository(python=Python(packages=("-r requirements.txt", "-e '.[test]'", "pytest"), cached=True)),
    "uv": Repository(python=Python("uv", version_file=".python-version", version="3.12")),
    "poetry": Repository(python=Python("poetry", version_file="pyproject.toml")),
    "both": Repository(node=Node(locked=True), python=Python(packages=("-e .",), cached=True), make=True),
}


def read(text: str) -> Any:
    """The document; `on` is a word in YAML 1.2, which both systems read."""
    read = yaml.safe_load(text)
    return {"on" if key is True else key: value for key, value in read.items()} if isinstance(read, dict) else read


def with_alternative(text: str) -> str:
    """A job in which the commented steps, or keys, stand in the place of those they replace."""
    job = read(text)
    other = read(alternative(text))
    if "jobs" in job:
        steps = job["jobs"]["test"]["steps"]
        at = next(number for number, step in enumerate(steps) if step.get("name") == "Test")
        steps[at : at + 1] = other
    else:
        job["test"] |= other
    return json.dumps(job)  # which is YAML


@pytest.mark.parametrize(
    ("schema", "made"), [("vendor.github-workflows", github.workflow), ("vendor.gitlab-ci", gitlab.pipeline)]
)
def test_each_job_is_valid(schema: str, made: Any, tmp_path: Path) -> None:
    """For every repository, as it is printed and with what is commented, the system's own schema accepts it."""
    files = []
    for number, repository in enumerate(REPOSITORIES.values()):
        text = made(repository, "0.1.0")
        for kind, content in (("", text), ("-alternative", with_alternative(text))):
            files.append(tmp_path / f"{number}{kind}.yml")
            files[-1].write_text(content)
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    files[0].write_text(files[0].read_text().replace("timeout", "timeuot"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def scripts(text: str) -> list[str]:
    """Everything in a job that a shell runs, alternatives too."""
    job, other = read(text), read(alternative(text))
    if "jobs" in job:
        return [step["run"] for step in [*job["jobs"]["test"]["steps"], *other] if "run" in step]
    parts = [job["test"][name] for name in ("before_script", "script", "after_script")]
    return ["\n".join(part) for part in [*parts, other["script"]]]


def test_each_script_is_clean(tmp_path: Path) -> None:
    """A shell can read every script, and ShellCheck finds nothing in it."""
    files = []
    for made in (github.workflow, gitlab.pipeline):
        for repository in REPOSITORIES.values():
            for script in scripts(made(repository, "0.1.0")):
                files.append(tmp_path / f"{len(files)}.sh")
                files[-1].write_text(script + "\n")
    assert len(files) > 100
    for file in files:
        subprocess.run(["bash", "-n", str(file)], check=True)
    command = [str(BIN / "shellcheck"), "--shell=bash", "--enable=check-unassigned-uppercase", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_workflow_asks_for_little_and_ends(name: str) -> None:
    """Reading is its only right, each action has its major version, job and tests have limits, and branches a group."""
    workflow = read(github.workflow(REPOSITORIES[name], "0.1.0"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "github.ref" in workflow["concurrency"]["group"]
    job = workflow["jobs"]["test"]
    [test] = [step for step in job["steps"] if "envctl run" in step.get("run", "")]
    assert 0 < int(test["timeout-minutes"]) < int(job["timeout-minutes"])
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)
    [upload] = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "failure()"
    assert f"--artifacts {upload['with']['path']} -- " in test["run"]


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("npm", "npm test"),
        ("pnpm", "pnpm test"),
        ("uv", "uv run pytest"),
        ("make", "make test"),
        ("both", "sh -c 'npm test && pytest'"),
        ("nothing", "your-test-command"),
        ("bun, no tests", "your-test-command"),
    ],
)
def test_the_tests_are_run_with_services(name: str, tests: str) -> None:
    """Both systems run the repository's own test command below `envctl run`, and the same one beside `envctl up`."""
    run = f"envctl run --artifacts envctl-artifacts -- {tests}"
    for text in (github.workflow(REPOSITORIES[name], "0.1.0"), gitlab.pipeline(REPOSITORIES[name], "0.1.0")):
        assert sum(script.removeprefix("exec ") == run for script in scripts(text)) == 1
        assert "envctl up" in alternative(text)


def test_gitlab_removes_everything_however_it_ends() -> None:
    """`after_script` is run after a cancelled job as well; what explains a failure is kept."""
    job = read(gitlab.pipeline(REPOSITORIES["pip"], "0.1.0"))["test"]
    assert job["after_script"] == ["envctl down --all"]
    assert job["artifacts"]["when"] == "on_failure"
    assert job["artifacts"]["paths"] == ["envctl-artifacts/"]
    assert job["interruptible"] is True


def test_envctl_is_installed_in_the_release_that_made_the_job() -> None:
    """A later release, which may be different, does not get into the job by itself."""
    assert "pip install 'envctl==2.7.*'" in github.workflow(Repository(), "2.7.13")
    assert "pip install 'envctl[embedded]==2.7.*'" in gitlab.pipeline(Repository(), "2.7.13")
