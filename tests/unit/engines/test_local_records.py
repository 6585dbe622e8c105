"""What is written down of a process, and what is true of it now."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envctl.engines.local import folders, records
from envctl.host import clock, owner
from envctl.model import Owner, ServiceState

DEFINITION = {
    "arguments": ["true"],
    "ports": {"3000": 20431},
    "labels": {"dev.envctl.digest": "0123", "dev.envctl.aspects": '{"command": "ab"}', "dev.envctl.data": "4567"},
}
DEAD = replace(owner.current(), start_ticks=1)


def as_json(process: Owner | None) -> dict[str, Any] | None:
    return process and {"boot_id": process.boot_id, "pid": process.pid, "start_ticks": process.start_ticks}


def write(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def started(folder: Path, process: Owner, keeper: Owner | None, cookie: str = "c") -> records.ProcessRecord:
    write(folder, records.DEFINITION, DEFINITION)
    kept = {"process": as_json(process), "keeper": as_json(keeper), "cookie": cookie, "started_at_s": 12.5}
    write(folder, records.PROCESS, kept)
    return records.read(folder)


def test_what_was_defined_but_not_started_is_created(tmp_path: Path) -> None:
    """The intent alone is no process."""
    records.write_definition(tmp_path, DEFINITION)
    assert records.read(tmp_path).state is ServiceState.CREATED
    assert records.read(tmp_path).definition == DEFINITION


def test_a_process_with_its_keeper_runs(tmp_path: Path) -> None:
    """Both alive: running, and all that was recorded is told."""
    seen = started(tmp_path / "app", owner.current(), owner.current()).observed()
    assert (seen.name, seen.handle, seen.state) == ("app", str(tmp_path / "app"), ServiceState.RUNNING)
    assert (seen.digest, seen.data_digest, seen.aspects) == ("0123", "4567", {"command": "ab"})
    assert seen.host_ports == {3000: 20431}
    assert seen.exit_code is None


@pytest.mark.parametrize("keeper", [None, DEAD])
def test_a_process_without_its_keeper_is_unhealthy(tmp_path: Path, keeper: Owner | None) -> None:
    """Its output goes nowhere, so that the next `up` starts it again."""
    assert started(tmp_path, owner.current(), keeper).state is ServiceState.UNHEALTHY


@pytest.mark.parametrize("process", [DEAD, replace(owner.current(), boot_id="00000000-0000-0000-0000-000000000000")])
def test_a_process_that_is_gone_has_exited(tmp_path: Path, process: Owner) -> None:
    """Also where its id is now another program's, and after the machine was started again."""
    assert started(tmp_path, process, owner.current()).state is ServiceState.EXITED


def test_the_end_belongs_to_one_start(tmp_path: Path) -> None:
    """How an earlier start ended is not told of a later one."""
    write(tmp_path, records.EXIT, {"cookie": "c", "exit_code": 3, "ended_at_s": 14.0})
    record = started(tmp_path, DEAD, DEAD)
    assert (record.exit_code, record.started_at_s, record.ended_at_s) == (3, 12.5, 14.0)
    assert record.observed().exit_code == 3
    record = started(tmp_path, owner.current(), owner.current(), cookie="next")
    assert (record.exit_code, record.ended_at_s) == (None, None)


@pytest.mark.parametrize("name", [records.DEFINITION, records.PROCESS, records.EXIT])
@pytest.mark.parametrize(
    "damage",
    [
        *(
            "",
            "\0\0\0",
            '{"process": {"boot_id": "',
            "[]",
            "null",
            "17",
            "[" * 100_000,
            '{"process": 5, "cookie": null}',
        ),
        *('{"process": {"boot_id": [], "pid": "x", "start_ticks": {}}}', '{"labels": [], "ports": {"a": 1}}'),
        *('{"labels": {"dev.envctl.aspects": "{"}, "ports": {"1": "b"}}', '{"exit_code": "x", "ended_at_s": []}'),
    ],
)
def test_damage_costs_what_is_damaged_and_nothing_else(tmp_path: Path, name: str, damage: str) -> None:
    """No file's content can make a stack unreadable."""
    for other in ("app", "db"):
        started(tmp_path / other, owner.current(), owner.current())
        write(tmp_path / other, records.EXIT, {"cookie": "c", "exit_code": 3, "ended_at_s": 14.0})
    write(tmp_path / "app", name, damage)
    found = records.read_all(tmp_path)
    assert found.keys() == {"app", "db"}
    assert {one.observed().state for one in found.values()} <= set(ServiceState)
    assert found["db"].state is ServiceState.RUNNING


def test_files_and_hidden_folders_are_no_services(tmp_path: Path) -> None:
    """What lies beside the services' folders is not taken for one."""
    started(tmp_path / "app", DEAD, None)
    write(tmp_path, "stack.json", {})
    (tmp_path / ".tmp").mkdir()
    assert list(records.read_all(tmp_path)) == ["app"]
    assert records.read_all(tmp_path / "missing") == {}


def test_one_look_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    """`up` with nothing to do looks at every service."""
    for name in ("a", "b", "c"):
        started(tmp_path / name, owner.current(), owner.current())
    shortest_s = 1.0
    for _ in range(50):
        before_s = clock.monotonic_s()
        assert all(record.state is ServiceState.RUNNING for record in records.read_all(tmp_path).values())
        shortest_s = min(shortest_s, clock.monotonic_s() - before_s)
    assert shortest_s < 0.002


@pytest.mark.parametrize("name", ["", "..", "a/b", "0123456789abc", "0123456789aB", "0123456789a", "0123456789ab\n"])
def test_only_a_stacks_id_names_its_folder(tmp_path: Path, name: str) -> None:
    """No path leaves the folder of all stacks."""
    assert not folders.is_stack(name)
    assert not folders.exists(tmp_path, name)
    with pytest.raises(ValueError, match="not a stack's id"):
        folders.stack(tmp_path, name)
    assert folders.state_of(folders.stack(tmp_path, "0123456789ab")) == tmp_path
    assert os.fspath(folders.stack(tmp_path, "0123456789ab")).endswith("stacks/0123456789ab")
