"""`envctl run` around containers; what it does with any engine is told in tests/embedded."""

from __future__ import annotations

import shlex
import signal

import pytest
from harness import Project, eventually
from held import Held, removal_begins_after_s

REDIS = "services: {redis: {}}\n"


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one service."""
    project.config(REDIS)
    return project


def test_a_command_that_passes_and_one_that_fails(shop: Project) -> None:
    """Both have the services, whose logs are kept of the one that fails; both leave nothing on the engine."""
    shop.allow_files("logs/*")
    passed = shop.run("run", "--", "sh", "-c", 'test "$ENVCTL_ENGINE" = compose && echo "$REDIS_URL"', check=True)
    assert passed.out.startswith("redis://")
    assert shop.labelled() == []
    save = f"{shlex.join(shop.command)} redis-cli BGSAVE; exit 3"
    failed = shop.run("run", "--artifacts", "logs", "--", "sh", "-c", save)
    assert failed.code == 3
    assert "Background saving started" in (shop.root / "logs" / "redis.log").read_text()
    shop.assert_nothing_left()


@pytest.mark.parametrize("moment", ["up", "command"])
def test_kill_of_envctl(shop: Project, moment: str) -> None:
    """Nothing stays on the engine, without any other call of envctl: also what Compose was just making."""
    held = Held(shop)
    process = shop.start("run", "--", *held.words)
    if moment == "up":
        assert eventually(lambda: any(thing.noun == "network" for thing in shop.labelled()), limit_s=30, every_s=0.01)
    else:
        assert held.has_begun
    process.kill()
    process.communicate(timeout=30)
    assert moment == "up" or held.has_ended
    assert eventually(lambda: not shop.leaks(limit_s=0), limit_s=30, every_s=0.2)


def test_a_job_that_is_cancelled(shop: Project) -> None:
    """The removal begins at once, also while the command ignores SIGTERM, and is done before that has ended."""
    held = Held(shop, first="trap '' TERM")
    process = shop.start("run", "--", *held.words)
    assert held.has_begun
    assert removal_begins_after_s(shop, process, signal.SIGTERM) < 1
    assert eventually(lambda: shop.labelled() == [], limit_s=9)
    assert held.lives
    held.release()
    process.communicate(timeout=30)
    assert process.returncode == 0
    shop.assert_nothing_left()
