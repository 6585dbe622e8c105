"""What the files of stacks take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envctl.engines.local.beside import Beside
from envctl.engines.local.processes import Processes
from envctl.engines.local.usage import Weighing
from envctl.host import account, clock
from envctl.host.paths import ensure_state_dir

STACK = "0123456789ab"


def _blocks(*files: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in files)


def test_blocks_are_counted_once(tmp_path: Path) -> None:
    """Of files with holes what is there, of a file with two names one; nothing through symbolic links."""
    stack = tmp_path / "stacks" / STACK
    data = stack / "postgres" / "data"
    data.mkdir(parents=True)
    (tmp_path / "stacks" / "no stack").mkdir()
    (data / "table").write_bytes(b"x" * 300_000)
    with (data / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    os.link(data / "table", data / "same")
    (data / "outside").symlink_to(tmp_path)
    found = Weighing(tmp_path).result(clock.monotonic_s() + 10)
    assert list(found) == [STACK]
    folders = _blocks(stack / "postgres", data) + (data / "outside").lstat().st_blocks * 512
    assert found[STACK] == _blocks(data / "table", data / "sparse") + folders >= 300_000
    assert Weighing(tmp_path / "none").result(0) == {}


def test_data_outside_of_the_state_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of another user than root have theirs below the run root."""
    run = tmp_path / "run"
    run.mkdir(mode=0o711)
    monkeypatch.setenv(account.RUN_DIR, str(run))
    state = ensure_state_dir(tmp_path / "state")
    (state / "stacks" / STACK).mkdir(parents=True)
    monkeypatch.setattr(account, "unprivileged", lambda: (os.geteuid(), os.getegid()))
    data = account.data_folder(state, STACK, "postgres", unprivileged_service=True)
    data.mkdir(parents=True)
    (data / "table").write_bytes(b"x" * 300_000)
    found = Weighing(state).result(clock.monotonic_s() + 10)
    assert (found[STACK] or 0) >= 300_000


class _Containers:
    """An engine of containers that weighs what a test says."""

    name = address = "compose"

    def __init__(self, told: dict[str, int] | None) -> None:
        self.told = told

    def weigh(self, registry_id: str) -> _Containers:
        return self

    def result(self, deadline_s: float) -> dict[str, int] | None:
        return self.told


def test_processes_beside_containers_are_added(tmp_path: Path) -> None:
    """Where one of the two is not known, neither is the sum."""
    folder = tmp_path / "stacks" / STACK
    folder.mkdir(parents=True)
    (folder / "log").write_bytes(b"x" * 5000)
    ours = _blocks(folder / "log")

    def weighed(told: dict[str, int] | None, limit_s: float = 10.0) -> object:
        both = Beside(_Containers(told), Processes(tmp_path, {}))  # type: ignore[arg-type]  # a test gives what it likes
        return both.weigh("r").result(clock.monotonic_s() + limit_s)

    assert weighed({STACK: 7, "other": 3}) == {STACK: ours + 7, "other": 3}
    assert weighed({}) == {STACK: ours}
    assert weighed(None) is None
    assert weighed({STACK: 7, "other": 3}, -1.0) == {STACK: None, "other": 3}
