"""The jobs that `envctl ci` prints, carried out: their scripts run one after the other, as the CI system runs them.

Left out are `uses:` steps and what installs packages (`pip install`): Python, envctl and pytest are there already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from github_runner import Job, alternative, commands
from harness import Project, eventually

_TESTS = """
import json, os, pathlib, time
from redis import Redis

def test_shop():
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        answered = redis.ping()
    seen = {"env": os.environ["ENVCTL_ENV"], "password": os.environ["REDIS_PASSWORD"], "redis": answered}
    path = pathlib.Path(os.environ["SEEN"])
    path.with_suffix(".new").write_text(json.dumps(seen))
    path.with_suffix(".new").rename(path)
    LAST
"""
_CONFIG = """
services:
  redis: {}
  noisy:
    process: "while :; do echo '::error::forged'; echo 'a ##[add-mask]true'; sleep 0.1; done"
    ready: {log: forged}
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A Python repository that is tested with pytest, on a machine without Docker."""
    project.config(_CONFIG)
    project.write("requirements.txt", "pytest\nredis\n")
    project.allow_files("envctl-artifacts/*")
    project.environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}",
        "SEEN": str(project.folder / "seen.json"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # other plugins of this machine are not the repository's
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return project


def end_test_with(project: Project, last: str) -> None:
    """Give the repository a test that ends with a line."""
    project.write("test_shop.py", _TESTS.replace("LAST", last))


def job(project: Project) -> Job:
    """A GitHub job in the project's checkout."""
    folder = project.folder / "runner"
    folder.mkdir()
    return Job(project.root, dict(project.environ), folder)


def workflow(project: Project) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The steps that `envctl ci github` prints, and those of its comment."""
    text = project.run("ci", "github", check=True).out
    return yaml.safe_load(text)["jobs"]["test"]["steps"], yaml.safe_load(alternative(text))


def seen(project: Project) -> dict[str, Any]:
    """What the test found."""
    found: dict[str, Any] = json.loads(Path(project.environ["SEEN"]).read_text())
    assert found["redis"] is True
    return found


def test_the_github_job(shop: Project) -> None:
    """It passes, its tests reach the services, the summary names them, passwords are masked, and nothing is left."""
    end_test_with(shop, "pass")
    running = job(shop)
    running.run(workflow(shop)[0])
    assert not running.failed, running.ran
    [step] = running.ran
    told = commands(step.log)
    assert [one.name for one in told].count("group") == [one.name for one in told].count("endgroup") > 0
    assert {one.name for one in told} == {"group", "endgroup", "add-mask"}
    assert seen(shop)["password"] in {one.data for one in told if one.name == "add-mask"}
    assert seen(shop)["password"] not in step.log.replace("::add-mask::" + seen(shop)["password"], "")
    assert f"`{seen(shop)['env']}` is ready" in step.summary
    assert "Keep what explains the failure" not in running.reached
    shop.assert_nothing_left()


def test_the_github_job_fails_with_its_tests(shop: Project) -> None:
    """The logs are there to be uploaded and shown, no line of a service is obeyed, and nothing else is left."""
    end_test_with(shop, "assert False")
    running = job(shop)
    running.run(workflow(shop)[0])
    [step] = running.ran
    assert step.code == 1, step.log
    assert running.reached[-1] == "Keep what explains the failure"
    assert "::error::forged" in (shop.root / "envctl-artifacts" / "noisy.log").read_text()
    assert "error::forged" in step.log
    assert {one.name for one in commands(step.log)} == {"group", "endgroup", "add-mask"}
    shop.assert_nothing_left()


def test_several_steps_of_a_github_job(shop: Project) -> None:
    """The steps that follow `envctl env` have the variables, and the services are removed though one has failed."""
    end_test_with(shop, "assert False")
    running = job(shop)
    running.run(workflow(shop)[1])
    start, test, end = running.ran
    assert (start.code, test.code, end.code) == (0, 1, 0), (start.log, test.log, end.log)
    assert "REDIS_URL" not in start.environ
    assert test.environ["REDIS_URL"] == start.outputs["REDIS_URL"]
    assert seen(shop)["password"] in {one.data for one in commands(start.log) if one.name == "add-mask"}
    assert end.name == "Remove the services"
    shop.assert_nothing_left()


def test_a_github_job_that_is_cancelled(shop: Project) -> None:
    """The runner tells the step's own process alone, and kills it after ten seconds: by then all is gone."""
    end_test_with(shop, "time.sleep(120)")
    [step] = [step for step in workflow(shop)[0] if step.get("name") == "Test"]
    process = job(shop).start(step["run"])
    try:
        assert eventually(Path(shop.environ["SEEN"]).exists, limit_s=60)
        shop.traces.notice()
        process.send_signal(signal.SIGINT)
        log, _ = process.communicate(timeout=7.5)
    finally:
        process.kill()
    assert process.returncode != 0, log
    shop.assert_nothing_left()


def test_the_gitlab_job(shop: Project) -> None:
    """Its script passes, what is folded is unfolded again, and `after_script` finds nothing that is left."""
    end_test_with(shop, "pass")
    shop.environ |= {"CI": "true", "GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "main"}
    text = shop.run("ci", "gitlab", check=True).out
    made, other = yaml.safe_load(text)["test"], yaml.safe_load(alternative(text))
    log = sh(shop, made["script"])
    assert log.count("section_start") == log.count("section_end") > 0
    assert seen(shop)
    shop.assert_nothing_left()
    sh(shop, other["script"])
    assert shop.processes()
    sh(shop, made["after_script"])
    shop.assert_nothing_left()


def sh(project: Project, script: list[str]) -> str:
    """What a job's commands print; they must succeed."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(script)],
        cwd=project.root,
        env=project.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    project.traces.notice()
    assert done.returncode == 0, done.stdout
    return done.stdout
