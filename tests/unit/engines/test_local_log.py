"""Logs of processes: read from the end, followed through everything that happens to the files."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from envctl.engines.local import log, records
from envctl.engines.local.keeper.log import Log as KeepersLog
from envctl.host import clock, owner
from envctl.model import Owner

LIMIT_S = 10.0


def eventually(condition: Callable[[], bool]) -> None:
    deadline = clock.monotonic_s() + LIMIT_S
    while not condition():
        assert clock.monotonic_s() < deadline
        clock.sleep_s(0.005)


def as_json(process: Owner) -> dict[str, Any]:
    return {"boot_id": process.boot_id, "pid": process.pid, "start_ticks": process.start_ticks}


class Service:
    """A service's folder, in which the test is the keeper; its process is a program that waits."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.program = subprocess.Popen(["sleep", "100"])
        fields = Path(f"/proc/{self.program.pid}/stat").read_bytes().rpartition(b")")[2].split()
        process = Owner(owner.current().boot_id, self.program.pid, int(fields[19]))
        self.keep(process, owner.current())

    def keep(self, process: Owner, keeper: Owner) -> None:
        record = {"process": as_json(process), "keeper": as_json(keeper), "cookie": "c", "started_at_s": 1.0}
        (self.folder / records.PROCESS).write_text(json.dumps(record))

    def kill(self) -> None:
        self.program.kill()
        self.program.wait()

    def note_end(self) -> None:
        (self.folder / records.EXIT).write_text(json.dumps({"cookie": "c", "exit_code": 137, "ended_at_s": 2.0}))

    def write(self, *lines: bytes, name: str = "log", time_s: float = 1000.0) -> None:
        self.add(b"".join(b"%.3f %b\n" % (time_s, line) for line in lines), name)

    def add(self, data: bytes, name: str = "log") -> None:
        with (self.folder / name).open("ab") as file:
            file.write(data)

    def read(self, tail_lines: int | None = None, since: str | None = None) -> list[str]:
        return list(log.lines(self.folder, follow=False, tail_lines=tail_lines, since=since))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "app")
    yield made
    made.kill()
    made.note_end()  # who still follows, ends


class Follower:
    """Somebody who follows, in a thread of his own."""

    def __init__(self, service: Service, tail_lines: int | None = None) -> None:
        self.seen: list[str] = []
        self._lines = log.lines(service.folder, follow=True, tail_lines=tail_lines, since=None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for line in self._lines:
            self.seen.append(line)

    def has_ended(self) -> bool:
        return not self._thread.is_alive()


# -- what is there ---------------------------------------------------------------------------------------------------


def test_older_lines_come_first_and_without_their_times(service: Service) -> None:
    """Both files are read as one log; blanks, empty lines and numbers of the service's own stay."""
    service.write(b"one", b"", name="log.1")
    service.write(b"  two ", b"7.123 three")
    assert service.read() == ["one", "", "  two ", "7.123 three"]


def test_no_log_is_no_line(service: Service) -> None:
    """A service that said nothing, and one whose folder is not there, have an empty log."""
    assert service.read() == []
    missing = service.folder / "missing"
    assert list(log.lines(missing, follow=False, tail_lines=3, since=None)) == []
    assert list(log.lines(missing, follow=True, tail_lines=3, since=None)) == []


def test_bytes_that_are_no_text_are_replaced(service: Service) -> None:
    """No service can make its log unreadable."""
    service.write(b"a\xffb", b"\x00")
    assert service.read() == ["a\ufffdb", "\0"]


def test_lines_without_a_time_are_shown_whole(service: Service) -> None:
    """What a killed keeper left torn is still shown."""
    (service.folder / "log").write_bytes(b"torn piece\n1000.000 whole\n12345678901234567890.000 x\n")
    assert service.read() == ["torn piece", "whole", "12345678901234567890.000 x"]


def test_half_a_line_waits_until_it_is_whole(service: Service) -> None:
    """A line that is being written is left out; when nobody will finish it, it is shown as it is."""
    service.write(b"whole")
    service.add(b"1000.000 half")
    assert service.read() == ["whole"]
    assert service.read(tail_lines=1) == ["whole"]
    service.kill()
    service.note_end()
    assert service.read() == ["whole", "half"]


@pytest.mark.parametrize("wanted", [0, 1, 2, 3, 4, 5, 9])
def test_tail_counts_over_both_files(service: Service, wanted: int) -> None:
    """The last N lines are the last N of the whole log."""
    service.write(b"1", b"2", b"3", name="log.1")
    service.write(b"4", b"5")
    assert service.read(tail_lines=wanted) == [str(n) for n in range(1, 6)][5 - min(wanted, 5) :]


@pytest.mark.parametrize("length", [1, 5, 7, 64, 1000])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_tail_does_not_depend_on_the_size_of_blocks(
    service: Service, monkeypatch: pytest.MonkeyPatch, length: int, block: int
) -> None:
    """Lines longer and shorter than what is read at once are found alike."""
    monkeypatch.setattr(log, "_BLOCK_BYTES", block)
    said = [b"%d" % n * length for n in range(9)]
    service.write(*said)
    for wanted in range(11):
        assert service.read(tail_lines=wanted) == [line.decode() for line in said][9 - min(wanted, 9) :]


def test_tail_of_a_large_log_reads_only_its_end(service: Service) -> None:
    """The last lines of 20 MB come in a moment, since what is before them is not read."""
    for name in ("log.1", "log"):
        service.write(*[b"x" * 100] * 90_000, name=name)
    service.write(b"last")
    before = clock.monotonic_s()
    assert service.read(tail_lines=2) == ["x" * 100, "last"]
    assert clock.monotonic_s() - before < 0.2


def test_since_chooses_what_is_newer(service: Service) -> None:
    """Seconds ago and moments with any offset; among the last lines where both are asked for."""
    now = clock.now()
    for number, age_s in enumerate((400, 200, 100)):
        service.write(b"%d" % number, time_s=now.timestamp() - age_s)
    assert service.read(since="300.000s") == ["1", "2"]
    assert service.read(since="300s", tail_lines=1) == ["2"]
    assert service.read(since="150.5s", tail_lines=3) == ["2"]
    moment = now - timedelta(seconds=150)
    assert service.read(since=moment.isoformat()) == ["2"]
    assert service.read(since=moment.astimezone(UTC).isoformat().replace("+00:00", "Z")) == ["2"]
    assert service.read(since=datetime(2000, 1, 1, tzinfo=UTC).isoformat()) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="yesterday"):
        service.read(since="yesterday")


def test_a_line_without_a_time_is_as_old_as_the_one_before(service: Service) -> None:
    """A torn line is not lost among those that are chosen, nor added to those that are not."""
    service.write(b"old")
    service.add(b"torn\n")
    service.write(b"new", time_s=clock.now().timestamp())
    service.add(b"torn too\n")
    assert service.read(since="60s") == ["new", "torn too"]


# -- following -------------------------------------------------------------------------------------------------------


def test_following_ends_with_the_service(service: Service) -> None:
    """All lines come, also those written at the very end, and then it is over."""
    service.write(b"early")
    follower = Follower(service)
    eventually(lambda: follower.seen == ["early"])
    service.write(b"late")
    eventually(lambda: follower.seen == ["early", "late"])
    assert not follower.has_ended()
    service.kill()
    service.write(b"last words")
    service.note_end()
    eventually(follower.has_ended)
    assert follower.seen == ["early", "late", "last words"]


def test_following_ends_when_the_keeper_is_gone(service: Service) -> None:
    """Nobody writes any more then, though the process runs on."""
    follower = Follower(service)
    service.write(b"one")
    eventually(lambda: follower.seen == ["one"])
    process = records.read(service.folder).process
    assert process is not None
    service.keep(process, Owner(process.boot_id, process.pid, process.start_ticks - 1))
    eventually(follower.has_ended)


def test_following_ends_although_the_end_was_not_noted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the keeper cannot note a death; who follows does not wait for it for ever."""
    monkeypatch.setattr(log, "_NOTED_WITHIN_S", 0.1)
    follower = Follower(service)
    service.kill()
    service.write(b"last")
    eventually(follower.has_ended)
    assert follower.seen == ["last"]


def test_following_begins_with_the_last_lines(service: Service) -> None:
    """`--tail 0 -f` shows only what is new."""
    service.write(b"old")
    follower = Follower(service, tail_lines=0)
    clock.sleep_s(0.05)  # it has begun, or begins now: either way it must not show what was there
    eventually(lambda: len(service.read()) == 1)
    service.write(b"new")
    eventually(lambda: "new" in follower.seen)
    assert follower.seen == ["new"]


def test_a_line_in_pieces_is_followed_as_one(service: Service) -> None:
    """Whoever follows never sees half a line."""
    follower = Follower(service)
    with (service.folder / "log").open("ab", buffering=0) as file:
        for piece in (b"1000.000 a", b"b", b"c\n1000.000 d"):
            file.write(piece)
            clock.sleep_s(0.02)
        eventually(lambda: follower.seen == ["abc"])
        file.write(b"\n")
    eventually(lambda: follower.seen == ["abc", "d"])


def test_following_survives_rotation(service: Service) -> None:
    """Nothing is lost, doubled or torn while the keeper's files are renamed under the eyes of who reads."""
    keeper = KeepersLog(str(service.folder / "log"), 20_000)
    follower = Follower(service)
    said = [f"{number:05} {'x' * (number % 97)}" for number in range(4000)]
    for number, line in enumerate(said):
        keeper.feed(line.encode() + b"\n")
        if number % 100 == 0:  # less than a file: who reads must not be overtaken twice
            eventually(lambda least=number - 100: len(follower.seen) >= least)
    keeper.close()
    service.kill()
    service.note_end()
    eventually(follower.has_ended)
    assert follower.seen == said


def test_who_is_overtaken_goes_on_with_what_is_left(service: Service) -> None:
    """More than both files hold was written between two looks: the oldest is lost, the rest is whole and in order."""
    keeper = KeepersLog(str(service.folder / "log"), 2_000)
    lines = log.lines(service.folder, follow=True, tail_lines=None, since=None)
    keeper.feed(b"first\n")
    assert next(lines) == "first"
    for number in range(1000):
        keeper.feed(b"%04d\n" % number)
    keeper.close()
    service.kill()
    service.note_end()
    rest = list(lines)
    assert rest[-1] == "0999"
    assert rest == sorted(rest)
    assert len(set(rest)) == len(rest) > 50


def test_a_log_that_is_taken_back_is_followed_on(service: Service) -> None:
    """A keeper on a full disk takes half a line back: what comes after it is read."""
    follower = Follower(service)
    service.write(b"one")
    size = (service.folder / "log").stat().st_size
    service.add(b"1000.000 ha")
    eventually(lambda: follower.seen == ["one"])
    with (service.folder / "log").open("r+b") as file:
        file.truncate(size)
    clock.sleep_s(2 * log._LONGEST_S)  # it has looked meanwhile
    service.write(b"a longer line than the half")
    eventually(lambda: len(follower.seen) == 2)
    assert follower.seen[1] == "a longer line than the half"


def test_giving_up_closes_the_files(service: Service) -> None:
    """A generator that is closed holds no file open."""
    service.write(b"one", name="log.1")
    service.write(b"two")
    lines = log.lines(service.folder, follow=True, tail_lines=None, since=None)
    assert next(lines) == "one"
    lines.close()  # type: ignore[attr-defined]  # its type says less than it has
    held = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert not [path for path in held if path.startswith(str(service.folder))]
