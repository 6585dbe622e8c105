"""`envctl.up()` in programs of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from harness import Project, eventually

REDIS = "services: {redis: {}}\n"
HEAD = """
import json, os, sys, threading
import envctl
from envctl import errors

def tell(**facts):
    print(json.dumps(facts), flush=True)

def raised(function, *arguments, **named):
    try:
        function(*arguments, **named)
    except envctl.EnvctlError as error:
        return error.code
    return None
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one service."""
    project.config(REDIS)
    return project


def start(project: Project, text: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + text],
        cwd=project.root,
        env=project.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def told(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    """What it told, when it has ended."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    facts: dict[str, Any] = {}
    for line in out.splitlines():
        facts |= json.loads(line)
    return facts


def environments(project: Project) -> list[tuple[object, ...]]:
    return project.traces.rows("SELECT label, state, ephemeral FROM environments ORDER BY label")


def test_an_environment_for_a_block(shop: Project) -> None:
    """It is there in the block, with all that leads to it, and gone afterwards; nothing is printed."""
    process = start(
        shop,
        """
with envctl.up() as env:
    tell(name=env.name, engine=env.engine, slot=env.session.slot, goes=env.goes_with_its_users)
    tell(same=env.redis == env.services["redis"], url=env.redis.url == env.variables["REDIS_URL"])
    tell(hidden=env.redis.password not in repr(env.redis), ready=env.timings_ms["total"] > 0)
    tell(none=raised(lambda: env.postgres), absent=raised(env.logs, "web"), wrong=raised(env.logs, "redis", since="?"))
    recent = env.logs("redis", since="1h")
    tell(log=any("eady to accept" in line for line in recent), last=env.logs("redis", tail_lines=1) == recent[-1:])
    tell(answer=env.exec("redis", ["sh", "-c", "echo $((40 + 2))"]))
tell(again=env.close(), gone=raised(env.logs, "redis"), down=env.down())
""",
    )
    facts = told(process)
    assert facts.pop("name").startswith("shop-main-")
    assert facts == {
        "engine": "embedded",
        "slot": 1,
        **dict.fromkeys(("goes", "same", "url", "hidden", "ready", "log", "last"), True),
        "none": "NO_SERVICE",
        "absent": "NO_SERVICE",
        "wrong": "USAGE",
        "answer": [0, "42\n"],
        "again": False,
        "gone": "NO_ENVIRONMENT",
        "down": None,
    }
    shop.assert_nothing_left()


def test_what_a_specification_may_be(shop: Project) -> None:
    """A mapping in the place of the file; what is wrong with it is a `ConfigInvalid`, and nothing is made."""
    process = start(
        shop,
        """
tell(unknown=raised(envctl.up, {"services": {"redis": {"imag": "x"}}}))
tell(no_yaml=raised(envctl.up, {"services": {"x": object()}}))
tell(engine=raised(envctl.up, engine="swarm"), file=raised(envctl.up, file="none.yaml"))
tell(branch=raised(envctl.up, branch=""))
try:
    envctl.up({}, file="envctl.yaml")
except TypeError:
    tell(both=True)
with envctl.up({"services": {"cache": {"kind": "redis"}}}, branch="other", name="e2e") as env:
    tell(services=list(env.services), host=env.redis.host, of=env.branch)
""",
    )
    assert told(process) == {
        "unknown": "CONFIG_INVALID",
        "no_yaml": "CONFIG_INVALID",
        "engine": "UNSUPPORTED",
        "file": "NO_CONFIG",
        "branch": "USAGE",
        "both": True,
        "services": ["cache"],
        "host": "127.0.0.1",
        "of": "other",
    }
    shop.assert_nothing_left()


def test_an_error_in_the_block_and_a_thread(shop: Project) -> None:
    """However the block ends, and in whichever thread, the environment goes; the error is the block's own."""
    process = start(
        shop,
        """
def work():
    with envctl.up(name="thread") as env:
        tell(thread=env.redis.port > 0)
thread = threading.Thread(target=work)
thread.start()
try:
    with envctl.up():
        raise KeyError("mine")
except KeyError as error:
    tell(error=str(error))
thread.join()
""",
    )
    assert told(process) == {"thread": True, "error": "'mine'"}
    shop.assert_nothing_left()


def test_one_that_was_up_is_used_and_left(shop: Project) -> None:
    """`fresh` makes it anew and leaves that; another user keeps it from being removed or made anew."""
    report = shop.up()
    before = shop.instances()
    process = start(
        shop,
        """
with envctl.up() as env:
    tell(first=env.redis.password, goes=env.goes_with_its_users)
    with envctl.up() as second:
        tell(slots=[env.session.slot, second.session.slot], fresh=raised(envctl.up, fresh=True))
sys.stdin.readline()
with envctl.up(fresh=True) as env:
    tell(second=env.redis.password)
sys.stdin.readline()
with envctl.up() as env:
    tell(in_use=raised(env.down))
    sys.stdin.readline()
    env.down()
    tell(down=raised(env.logs, "redis"))
""",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline()) | json.loads(process.stdout.readline())
    assert facts["first"] == report["variables"]["REDIS_PASSWORD"]
    assert (facts["goes"], facts["slots"], facts["fresh"]) == (False, [1, 2], "ENVIRONMENT_IN_USE")
    assert shop.instances() == before
    process.stdin.write("\n")
    process.stdin.flush()
    second = json.loads(process.stdout.readline())["second"]
    assert second != facts["first"]
    with subprocess.Popen(["sleep", "600"], cwd="/") as other:
        assert shop.up("--while-pid", str(other.pid))["variables"]["REDIS_PASSWORD"] == second
        process.stdin.write("\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"in_use": "ENVIRONMENT_IN_USE"}
        assert environments(shop) == [("", "ready", 0)]
        other.kill()
    assert eventually(lambda: len(shop.traces.rows("SELECT 1 FROM sessions")) == 1)
    assert told_after(process) == {"down": "NO_ENVIRONMENT"}
    shop.assert_nothing_left()


def told_after(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Let it go on, and what it told after that."""
    out, err = process.communicate("\n", timeout=60)
    assert process.returncode == 0, err
    facts: dict[str, Any] = json.loads(out.splitlines()[-1])
    return facts


def test_what_is_kept(shop: Project) -> None:
    """`keep` leaves what was made here as one that `envctl up` made; so does `close(keep=True)`."""
    process = start(
        shop,
        """
with envctl.up(keep=True):
    pass
tell(removed=envctl.up(name="second").close(keep=True))
""",
    )
    assert told(process) == {"removed": False}
    assert environments(shop) == [("", "ready", 0), ("second", "ready", 0)]


def test_its_own_and_no_other(shop: Project) -> None:
    """After its end an environment means nothing else, and a fork that leaves the block does not end it."""
    shop.up()
    process = start(
        shop,
        """
with envctl.up(name="mine") as env:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        tell(there=env.exec("redis", ["true"])[0])
        env.close()
        env.down()
        tell(over=True)
""",
    )
    assert told(process) == {"there": 0, "over": True}
    assert environments(shop) == [("", "ready", 0)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_dies(shop: Project, number: signal.Signals) -> None:
    """What it had goes, although nothing of it could run any more; a fork of it that lives on does not hold it."""
    process = start(
        shop,
        """
env = envctl.up()
if os.fork() == 0:
    os.close(0), os.close(1), os.close(2)
    os.setsid()
    threading.Event().wait()
tell(url=env.redis.url)
threading.Event().wait()
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    assert eventually(lambda: not environments(shop), limit_s=10)
    for pid in shop.processes():
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=10)
    shop.assert_nothing_left()


def test_a_program_that_just_ends(shop: Project) -> None:
    """Who forgets to close leaves nothing."""
    assert told(start(shop, "env = envctl.up()\ntell(url=bool(env.redis.url))")) == {"url": True}
    shop.assert_nothing_left()
