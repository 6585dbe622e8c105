"""What a service's process has written is kept, and another environment's starts from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as client
from local_server import free_port
from local_stacks import REGISTRY, Stacks, definition, eventually, is_running, stacks_in
from native_service import machine

from envctl.engines.embedded import EmbeddedEngine
from envctl.errors import DataFailed
from envctl.host import account
from envctl.kinds.redis import native
from envctl.model import DATA, Stack


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stacks]:
    """Stacks whose services are of the kind redis, on a machine of the test's own."""
    with machine() as folder:
        monkeypatch.setenv(account.RUN_DIR, str(folder / "run"))
        monkeypatch.setenv("ENVCTL_CACHE_DIR", str(folder / "cache"))
        with stacks_in(folder) as made:
            monkeypatch.setattr(made, "labels", lambda *words: {**Stacks.labels(made, *words), "kind": "redis"})
            yield made


def valkey(**more: object) -> dict[str, Any]:
    """A server as the plan describes it."""
    port = free_port()
    program = native.find({}, os.environ)
    lines = ["bind 127.0.0.1", f"port {port}", f"dir {DATA}", 'save ""', "daemonize no"]
    reach = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port)}
    own = {"data": "redis-data", "inherits": False, "unprivileged": True, "cwd": "", "discard_signal": "SIGTERM"}
    own |= {"stdin": "\n".join(lines) + "\n", "client": reach, "paths": dict(program.paths)}
    return definition(program.paths["server"], "-", **own, **more)


def link_to(service: dict[str, Any]) -> client.Redis:
    link = client.Redis(port=int(service["client"]["REDIS_PORT"]))
    eventually(lambda: _answers(link))
    return link


def _answers(link: client.Redis) -> bool:
    try:
        return bool(link.ping())
    except client.ConnectionError:
        return False


def capture(stacks: Stacks, stack: Stack, service: str, folder: Path) -> tuple[str, int]:
    engine = EmbeddedEngine({**stacks.environ, "ENVCTL_STATE_DIR": str(stacks.state)})
    return engine.capture(stack, REGISTRY, service, "a" * 32, folder)


def test_another_environment_starts_from_it(stacks: Stacks) -> None:
    """The service is ended, its data is in a private file, and another one that starts from the file has it."""
    first, second, folder = stacks.stack(), stacks.stack(), stacks.state / "prepared"
    maker = valkey()
    records = stacks.up(first, {"redis": maker})
    with link_to(maker) as link:
        link.set("kept", "yes")
        link.save()

    source, size = capture(stacks, first, "redis", folder)

    assert not any(is_running(one.process.pid) for one in records.values() if one.process)
    assert Path(source) == folder / "redis.data"
    assert Path(source).stat().st_mode & 0o777 == 0o600
    assert 0 < size <= 100_000
    user = valkey(prepared={"key": "a" * 32, "source": source})
    stacks.up(second, {"redis": user})
    with link_to(user) as link:
        found = link.get("kept")
        link.shutdown(nosave=True)
    assert found == b"yes"


@pytest.mark.provokes("DATA_FAILED")
@pytest.mark.parametrize(("service", "words"), [("other", "not up"), ("app", "no data")])
def test_what_has_no_data(stacks: Stacks, service: str, words: str) -> None:
    """The error says why, and nothing is ended."""
    stack = stacks.stack()
    records = stacks.up(stack, {"app": definition()})
    with pytest.raises(DataFailed) as caught:
        capture(stacks, stack, service, stacks.state / "prepared")
    assert words in str(caught.value.cause)
    assert all(is_running(one.process.pid) for one in records.values() if one.process)
