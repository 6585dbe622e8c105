"""The registry under many processes, kills and forks."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from registry_samples import THREE, claim, identity, lease

from envctl.host import clock
from envctl.host.registry import Registry, queue
from envctl.host.registry.queue import writers_turn

HERE = str(Path(__file__).parent)

# Imports once, then forks: what is measured and contended is the registry, not a hundred Python starts.
LEASE = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from registry_samples import claim, lease
from envctl.host import ports
from envctl.host.registry import Registry, WantedPort

def work(branch):
    start = time.monotonic()
    with Registry.open(Path(sys.argv[1])) as registry:
        record = claim(registry, branch)
        wanted = [WantedPort("s", str(number), 80) for number in range(5)]
        given = lease(registry, record, wanted, bind_check=True)
        subnet = registry.lease_subnet(record.stack.id, "local")
        return [registry.registry_id, [p.host_port for p in given], subnet, time.monotonic() - start]

go, let_go = os.pipe()
children = []
for branch in sys.argv[2].split():
    answer, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(let_go)
        os.read(go, 1)
        try:
            os.write(write, json.dumps(work(branch)).encode())
        finally:
            os._exit(0)
    os.close(write)
    children.append((pid, answer))
os.close(let_go)
for pid, answer in children:
    os.waitpid(pid, 0)
    print(os.read(answer, 65536).decode() or "null")
"""

CHURN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from registry_samples import claim, lease
from envctl.host.registry import Registry, queue
from envctl.host.registry.queue import writers_turn
from envctl.model import EnvironmentState
registry = Registry.open(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    record = claim(registry, sys.argv[2])
    lease(registry, record)
    registry.lease_subnet(record.stack.id, "local")
    registry.set_state(record.identity.name, EnvironmentState.READY, details={"x": "y" * 5000})
    registry.mark_removing(record.identity.name)
    registry.forget(record.identity.name)
"""


def start(code: str, state: Path, branch: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(state), branch, HERE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check(state: Path) -> None:
    with closing(sqlite3.connect(state / "registry.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def answers(state: Path, branches: list[str]) -> list[list[Any]]:
    with start(LEASE, state, " ".join(branches)) as process:
        out, _ = process.communicate(timeout=120)
    found = [json.loads(line) for line in out.splitlines()]
    assert None not in found, "a process failed; its traceback is above"
    return found


def test_a_hundred_processes_lease_five_ports_each(tmp_path: Path) -> None:
    """From nothing, all at once: one registry, no port and no subnet given twice, nobody fails."""
    state = tmp_path / "state"
    found = answers(state, [f"b{number}" for number in range(100)])
    assert len(found) == 100
    assert len({registry_id for registry_id, *_ in found}) == 1
    assert len({port for _, given, *_ in found for port in given}) == 500
    assert len({subnet for _, _, subnet, _ in found}) == 100
    check(state)
    with Registry.open(state) as registry:
        assert len(registry.all()) == 100
        assert not registry.needs_repair


def test_one_environment_claimed_by_many_is_made_once(tmp_path: Path) -> None:
    """Twenty `up` of the same branch get the same stack and the same ports."""
    found = answers(tmp_path / "state", ["same"] * 20)
    assert len({json.dumps(answer[:3]) for answer in found}) == 1
    assert len(found) == 20


def test_kill_at_any_moment_leaves_a_sound_registry(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, every row is whole and the next process goes on."""
    state = tmp_path / "state"
    dice = random.Random(7)
    with Registry.open(state) as registry:
        claim(registry, "bystander")
    for turn in range(8):
        child = start(CHURN, state, f"b{turn % 3}")
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            clock.sleep_s(dice.random() * 0.04)
            child.send_signal(signal.SIGKILL)
        with Registry.open(state) as registry:
            assert not registry.needs_repair
            assert identity("bystander") in [record.identity for record in registry.all()]
            lease(registry, claim(registry, f"b{turn % 3}"))
    check(state)


def test_write_lock_is_taken_before_anything_is_read(tmp_path: Path) -> None:
    """Nobody else can write between what a transaction read and what it writes because of it."""
    with Registry.open(tmp_path / "state") as registry, registry._store.transaction(write=True):
        other = sqlite3.connect(tmp_path / "state" / "registry.db", timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


def test_writers_take_turns(tmp_path: Path) -> None:
    """Who waits goes on as soon as the one before is done, not before."""
    order: list[str] = []
    (tmp_path / "locks").mkdir()

    def second() -> None:
        with writers_turn(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with writers_turn(tmp_path):
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_queue_that_cannot_be_used_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only disk, or a writer stopped for minutes, does not keep SQLite from deciding."""
    with writers_turn(tmp_path / "absent"):
        pass
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(queue, "_PATIENCE_S", 0.02)
    with writers_turn(tmp_path), writers_turn(tmp_path):
        pass


def test_child_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    """SQLite forbids the use of a parent's connection in a child."""
    with Registry.open(tmp_path / "state") as registry:
        before = registry._store.connect()
        pid = os.fork()
        if pid == 0:
            os._exit(int(registry._store.connect() is before))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert registry._store.connect() is before


def test_fork_does_not_share_the_connection(tmp_path: Path) -> None:
    """Children of a process that has the registry open use their own connection; the parent's stays good."""
    with Registry.open(tmp_path / "state") as registry:
        claim(registry)
        children = []
        for number in range(10):
            pid = os.fork()
            if pid == 0:
                try:
                    record = claim(registry, f"child{number}")
                    os._exit(0 if len(lease(registry, record)) == len(THREE) else 1)
                except BaseException:  # noqa: BLE001 - a child must never go on as a second pytest
                    os._exit(2)
            children.append(pid)
            lease(registry, claim(registry, f"parent{number}"))
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 10
        assert len(registry.all()) == 21
    check(tmp_path / "state")


def test_repair_survives_a_kill_before_it_is_done(tmp_path: Path) -> None:
    """A process that dies between finding the loss and repairing it leaves the next one to repair it."""
    state = tmp_path / "state"
    with Registry.open(state) as registry:
        claim(registry)
    (state / "registry.db").unlink()
    code = (
        "import os, sys; from pathlib import Path; from envctl.host.registry import Registry;"
        "assert Registry.open(Path(sys.argv[1])).needs_repair; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(state)], check=False).returncode == -signal.SIGKILL
    with Registry.open(state) as registry:
        assert registry.needs_repair
