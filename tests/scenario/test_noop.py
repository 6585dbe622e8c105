"""An `up` that has nothing to do costs little: one question to the engine, and no library."""

from __future__ import annotations

import json
import subprocess
import sys

from faults import CountingDocker, engine_proxy
from harness import Project

HEAVY = {"python_on_whales", "docker", "httpx", "psycopg", "redis", "pydantic", "structlog", "asyncio"}

_PROGRAM = """
import json, sys
from envctl.cli.main import run
code = run(["up", "--format", "none"])
sys.stdout.flush()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def test_unchanged_up_imports_nothing_heavy(project: Project) -> None:
    """An `up` of what runs already imports no client library."""
    project.config("services:\n  redis: {}\n")
    project.up()
    program = [sys.executable, "-c", _PROGRAM]
    ended = subprocess.run(
        program, cwd=project.root, env=project.environ, capture_output=True, text=True, check=True, timeout=60
    )
    code, modules = json.loads(ended.stderr.splitlines()[-1])
    assert code == 0
    assert not HEAVY & set(modules)
    project.run("down", check=True)


def test_unchanged_up_asks_once(project: Project) -> None:
    """An `up` of what runs already asks the engine once, `env` and `url` not at all; none of them calls docker."""
    project.config("services:\n  redis: {}\n")
    docker = CountingDocker.of(project)
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        project.up()
        proxy.forget()
        project.up(env=docker.environ)
        assert [seen.partition("?")[0] for seen in proxy.seen] == ["GET /containers/json"]
        proxy.forget()
        project.run("env", check=True, env=docker.environ)
        project.run("url", "redis", check=True, env=docker.environ)
        assert (proxy.seen, docker.calls) == ([], [])
        project.run("down", check=True)
