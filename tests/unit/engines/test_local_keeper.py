"""The keeper: what it starts, what it writes down, and what it survives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kept_services import PYTHON, Kept, eventually, is_running

from envctl.engines.local.keeper.log import Log
from envctl.engines.local.keeper.notes import read_json, to_json
from envctl.host import clock, owner
from envctl.model import ServiceState

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user, or mount")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with Kept(tmp_path / "stack") as kept:
        yield kept


# -- what it starts ----------------------------------------------------------------------------------------------------


def test_output_is_captured(kept: Kept) -> None:
    """Both streams are in the log, each line with its time, also a last one without an end."""
    before = clock.now().timestamp()
    kept.run("a", ["sh", "-c", "echo one; echo two >&2; echo; printf three"])
    assert kept.said("a") == ["one", "two", "", "three"]
    times = [line.partition(" ")[0] for line in (kept.root / "a/log").read_text().splitlines()]
    assert all(before - 0.001 <= float(time) <= clock.now().timestamp() for time in times)
    assert {len(time.partition(".")[2]) for time in times} == {3}


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_its_end_is_noted(kept: Kept, script: str, code: int) -> None:
    """The exit code, or 128 and the signal, is written down and told."""
    record = kept.run("a", ["sh", "-c", script])
    assert (record.exit_code, record.state) == (code, ServiceState.EXITED)
    assert record.started_at_s is not None
    assert record.ended_at_s is not None
    assert record.ended_at_s >= record.started_at_s
    assert kept.events[-1] == {"event": "ended", "service": "a", "exit_code": code}


def test_everything_it_said_is_in_the_log_when_its_end_is_told(kept: Kept) -> None:
    """Who hears of an end can quote the last lines."""
    ends: list[int] = []
    for number in range(5):
        kept.run(f"s{number}", ["sh", "-c", "seq 5000; exit 1"])
        ends.append(len(kept.said(f"s{number}")))
    assert ends == [5000] * 5


def test_it_is_written_down_before_it_runs(kept: Kept) -> None:
    """A program finds its own process.json at its very start, so whoever comes after a crash finds the program."""
    path = kept.root / "a/process.json"
    record = kept.run("a", ["cat", str(path)])
    assert json.loads(kept.said("a")[0])["process"]["pid"] == record.process.pid  # type: ignore[union-attr]  # it is there
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keeper_and_process_can_be_known_again(kept: Kept) -> None:
    """Both are written down with boot, id and start time."""
    record = kept.start("a", ["sleep", "100"])
    assert record.process is not None
    assert record.keeper is not None
    assert owner.is_alive(record.process)
    assert owner.is_alive(record.keeper)
    assert record.keeper.pid == kept.keepings[0].pid
    assert record.state is ServiceState.RUNNING


def test_program_gets_what_was_asked_for(kept: Kept, tmp_path: Path) -> None:
    """Its folder, its variables and no others, a umask that keeps others out."""
    program = "pwd; umask; /usr/bin/env"
    kept.run("a", ["/bin/sh", "-c", program], cwd=str(tmp_path), environment={"A": "é\n$x", "PATH": "/usr/bin:/bin"})
    folder, umask, *variables = kept.said("a")
    assert (folder, umask) == (str(tmp_path), "0077")
    assert {line.partition("=")[0] for line in variables} - {"_", "SHLVL", "OLDPWD"} == {
        *("A", "PATH", "PWD", "ENVCTL_PROCESS", "$x")
    }


def test_program_gets_nothing_of_ours(kept: Kept) -> None:
    """No descriptor but its three, no signal ignored or blocked, a session of its own."""
    code = (
        "import os, signal; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1]);"
        "print(os.getsid(0) == os.getpid() == os.getpgid(0));"
        "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))])"
    )
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        kept.run("a", ["python3", "-c", code])
    finally:
        os.close(reader)
        os.close(writer)
    descriptors, session, signals = kept.said("a")
    assert (descriptors, session) == ("[0, 1, 2]", "True")
    assert "SigBlk:\\t0000000000000000" in signals
    ignored = int(signals.partition("SigIgn:\\t")[2][:16], 16)
    by_python = {signal.SIGPIPE, signal.SIGXFSZ}
    by_posix_spawn = {32, 33}  # of the C library's own, which sets them again when it needs them
    assert {number for number in range(1, 65) if ignored & (1 << number - 1)} <= by_python | by_posix_spawn


def test_arguments_that_are_no_text_pass_as_they_are(kept: Kept) -> None:
    """A folder's name may be any bytes."""
    kept.run("a", ["printf", "%s", b"\xff\xfe".decode("utf-8", "surrogateescape")])
    assert (kept.root / "a/log").read_bytes().endswith(b" \xff\xfe\n")


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_text_for_its_input(kept: Kept, size: int) -> None:
    """A program reads exactly the text it was given, then the end."""
    kept.run("a", ["wc", "-c"], stdin="x" * size)
    assert kept.said("a") == [str(size)]


def test_input_that_is_not_read_does_no_harm(kept: Kept) -> None:
    """A program may leave its text unread, and the others are served all the same."""
    keeping = kept.keeper()
    kept.start("a", ["sleep", "100"], keeping, stdin="x" * 300_000)
    kept.start("b", ["sh", "-c", "exec <&-; exit 4"], keeping, stdin="x" * 300_000)
    eventually(lambda: kept.told("b")[-1] == "ended")
    assert kept.record("b").exit_code == 4


@needs_root
def test_another_user(kept: Kept) -> None:
    """As root, a program can be run as another user, with none of root's groups."""
    kept.run("a", ["sh", "-c", "id -u; id -g; id -G; echo x >/dev/stdout"], account=[65534, 65533])
    assert kept.said("a") == ["65534", "65533", "65533", "x"]


# -- what cannot be started --------------------------------------------------------------------------------------------


def _file(path: Path, content: bytes, mode: int) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_programs_that_cannot_be_run(kept: Kept, tmp_path: Path) -> None:
    """The operating system's reason is told and logged, and no end of a service that never was."""
    keeping = kept.keeper()
    cases = {
        "nowhere": (["no-such-program"], "/", errno.ENOENT, "exec"),
        "absent": (["/no/such/program"], "/", errno.ENOENT, "exec"),
        "plain": ([_file(tmp_path / "plain", b"#!/bin/sh\n", 0o600)], "/", errno.EACCES, "exec"),
        "folder": ([str(tmp_path)], "/", errno.EACCES, "exec"),
        "foreign": (
            [_file(tmp_path / "foreign", b"\x7fELF\x02\x01\x01" + bytes(60), 0o700)],
            "/",
            errno.ENOEXEC,
            "exec",
        ),
        "script": ([_file(tmp_path / "script", b"echo hi\n", 0o700)], "/", errno.ENOEXEC, "exec"),
        "lost": ([_file(tmp_path / "lost", b"#!/no/interpreter\n", 0o700)], "/", errno.ENOENT, "exec"),
        "away": (["true"], str(tmp_path / "away"), errno.ENOENT, "chdir"),
        "nul": (["true", "a\0b"], "/", errno.EINVAL, "exec"),
    }
    for name, (argv, cwd, _, _) in cases.items():
        kept.start(name, argv, keeping, cwd=cwd)
    told = {event["service"]: event for event in kept.events}
    for name, (argv, _, number, step) in cases.items():
        assert kept.told(name) == ["failed"], name
        assert (told[name]["errno"], told[name]["step"]) == (number, step), name
        assert kept.said(name) == [f"envctl: cannot start {argv[0]}: {step}: {os.strerror(number)}"]
        assert kept.record(name).exit_code == (127 if number == errno.ENOENT else 126)
    kept.start("after", ["sleep", "100"], keeping)


@needs_root
def test_program_that_another_user_may_not_reach(kept: Kept, tmp_path: Path) -> None:
    """Where another user is to run it, what counts is what that user may do."""
    program = _file(tmp_path / "program", b"#!/bin/sh\n", 0o755)
    tmp_path.chmod(0o700)
    kept.run("a", [program], account=[65534, 65534])
    assert kept.events[-1]["errno"] == errno.EACCES


def test_what_cannot_be_written_down_is_not_started(kept: Kept, tmp_path: Path) -> None:
    """No process runs that nobody could find."""
    request = kept.request("a", ["touch", str(tmp_path / "ran")])
    keeping = kept.keeper()
    keeping.ask({**request, "folder": str(tmp_path / "absent")})
    eventually(lambda: kept.told("a"))
    keeping.no_more()
    eventually(lambda: not is_running(keeping.pid))
    assert (kept.events[-1]["event"], kept.events[-1]["step"]) == ("failed", "start")
    assert not (tmp_path / "ran").exists()


# -- output ------------------------------------------------------------------------------------------------------------


def test_log_is_capped(kept: Kept) -> None:
    """Neither file exceeds the limit, and what is kept is the newest, without a gap."""
    limit = 4000
    kept.run("a", ["seq", "1", "20000"], log_limit_bytes=limit)
    sizes = [(kept.root / "a" / name).stat().st_size for name in ("log", "log.1")]
    assert max(sizes) <= limit
    assert sizes[1] > limit / 2
    lines = [int(line) for line in kept.said("a", "log.1") + kept.said("a")]
    assert lines == list(range(lines[0], 20001))


@pytest.mark.parametrize("data", [b"\n" * 40_000, b"x" * 40_000, b"ab\n" * 10_000])
def test_any_output_keeps_to_the_limit(tmp_path: Path, data: bytes) -> None:
    """Empty lines, endless lines: the time before each counts too."""
    log = Log(str(tmp_path / "log"), 1000)
    for start in range(0, len(data), log.read_bytes):
        log.feed(data[start : start + log.read_bytes])
        assert (tmp_path / "log").stat().st_size <= 1000 if (tmp_path / "log").exists() else True
    log.close()
    assert (tmp_path / "log").stat().st_size <= 1000
    assert (tmp_path / "log.1").stat().st_size <= 1000


def test_long_lines_are_split(kept: Kept) -> None:
    """A line without end does not wait for it, nor fill the memory."""
    kept.run("a", ["sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; echo y"])
    assert [len(line) for line in kept.said("a")] == [16384, 16384, 16384, 848, 1]


def test_flood_starves_nobody(kept: Kept) -> None:
    """Beside a service that never stops talking the others are heard, and the keeper stays small."""
    keeping = kept.keeper()
    kept.start("flood", ["yes", "y" * 100], keeping, log_limit_bytes=100_000)
    kept.start("a", ["sh", "-c", "echo heard; sleep 100"], keeping)
    eventually(lambda: kept.said("a") == ["heard"])
    eventually(lambda: (kept.root / "flood/log.1").exists())
    assert (kept.root / "flood/log.1").stat().st_size <= 100_000
    status = Path(f"/proc/{keeping.pid}/status").read_text()
    assert int(status.partition("VmHWM:")[2].split()[0]) < 30_000
    kept.start("late", ["sh", "-c", "exit 5"], keeping)
    eventually(lambda: kept.record("late").exit_code == 5)


@contextmanager
def _tiny_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@needs_root
def test_full_disk_ends_neither_service_nor_keeper(tmp_path: Path) -> None:
    """What cannot be written is lost, and that is said when there is room again; the service notices nothing."""
    with _tiny_disk(tmp_path / "disk") as disk, Kept(disk) as kept:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(200_000))
        talk = "seq 1 20000; read x < %s; while :; do echo after; sleep 0.05; done"
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        kept.start("a", ["sh", "-c", talk % fifo])
        writer = os.open(fifo, os.O_WRONLY)  # returns when the service has said everything
        ballast.unlink()
        os.close(writer)
        eventually(lambda: kept.said("a")[-1:] == ["after"])
        assert any("bytes of output were lost: No space left on device" in line for line in kept.said("a"))
        assert kept.record("a").state is ServiceState.RUNNING


def test_log_that_cannot_be_written_is_no_obstacle(kept: Kept) -> None:
    """Even /dev/full in the place of the log stops nothing."""
    (kept.root / "a").mkdir(parents=True)
    (kept.root / "a/log").symlink_to("/dev/full")
    assert kept.run("a", ["sh", "-c", "seq 100000; exit 6"]).exit_code == 6


# -- what it survives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_do_not_end_it(kept: Kept, number: int) -> None:
    """A terminal that closes takes nothing away: the end of the service is still noted."""
    record = kept.start("a", ["sh", "-c", "read x; exit 7"], stdin="")
    kept.start("b", ["sleep", "100"])
    keeper = kept.record("b").keeper
    assert keeper is not None
    os.kill(keeper.pid, number)
    assert record.process is not None
    os.kill(kept.record("b").process.pid, signal.SIGKILL)  # type: ignore[union-attr]  # it is there
    eventually(lambda: kept.record("b").exit_code == 137)


def test_it_ends_with_its_services(kept: Kept) -> None:
    """No keeper stays when there is nothing left to keep."""
    kept.run("a", ["true"])
    eventually(lambda: not is_running(kept.keepings[0].pid))


def test_output_of_what_went_to_the_background_is_kept(kept: Kept) -> None:
    """The keeper stays while a descendant can still write to the log."""
    record = kept.run("a", ["sh", "-c", "(sleep 0.2; echo later) & exit 0"])
    assert record.exit_code == 0
    eventually(lambda: kept.said("a") == ["later"])
    eventually(lambda: not is_running(kept.keepings[0].pid))


def test_orphans_are_reaped(kept: Kept) -> None:
    """A descendant whose parent has ended becomes the keeper's child and leaves no zombie."""
    script = "sleep 0.1; (setsid sh -c 'echo $$; exec sleep 100' &) ; exec sleep 100"
    record = kept.start("a", ["sh", "-c", script])
    orphan = kept.pid_said("a")
    assert record.keeper is not None
    eventually(lambda: f"PPid:\t{record.keeper.pid}" in Path(f"/proc/{orphan}/status").read_text())  # type: ignore[union-attr]  # it is there
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists())


# -- the one who starts it is killed -----------------------------------------------------------------------------------

_LAUNCHER = """
import fcntl, json, os, signal, sys
from envctl.engines.local.keeping import Keeping
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
keeping = Keeping(lock)
for request in json.loads(sys.argv[2]):
    keeping.ask(request)
os.write(keeping._requests, b'{"name": "half')
print("asked", flush=True)
signal.pause()
"""


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_launcher_killed_between_two_starts(kept: Kept, tmp_path: Path) -> None:
    """After `kill -9` what was asked for is started and written down, then the lock is free, and its end is noted."""
    lock = tmp_path / "lock"
    requests = [kept.request(name, ["sleep", "100"]) for name in ("a", "b")]
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(lock), json.dumps(requests)], stdout=subprocess.PIPE
    )
    with launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        launcher.kill()
        launcher.wait()
    eventually(lambda: not _is_locked(lock))
    found = [kept.record(name) for name in ("a", "b")]
    assert [record.state for record in found] == [ServiceState.RUNNING] * 2  # at once: that is what the lock is for
    os.kill(found[0].process.pid, signal.SIGTERM)  # type: ignore[union-attr]  # it is there
    eventually(lambda: kept.record("a").exit_code == 143)


def test_lock_is_held_while_something_may_be_started(kept: Kept, tmp_path: Path) -> None:
    """The keeper has the lock until it is told that nothing more comes; its services never have it."""
    lock = tmp_path / "lock"
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    keeping = kept.keeper(fd)
    os.close(fd)
    kept.start("a", ["sleep", "100"], keeping)
    assert _is_locked(lock)
    keeping.no_more()
    eventually(lambda: not _is_locked(lock))
    assert kept.record("a").state is ServiceState.RUNNING


def test_keeper_killed(kept: Kept) -> None:
    """Without its keeper a service runs on, and is known not to be whole."""
    record = kept.start("a", ["sleep", "100"])
    os.kill(kept.keepings[0].pid, signal.SIGKILL)
    eventually(lambda: kept.record("a").state is ServiceState.UNHEALTHY)
    assert record.process is not None
    assert is_running(record.process.pid)


def test_it_starts_without_room_for_descriptors(kept: Kept) -> None:
    """A keeper out of file descriptors says so for the one service, and keeps the others."""
    keeping = kept.keeper()
    kept.start("a", ["sleep", "100"], keeping)
    used = len(list(Path(f"/proc/{keeping.pid}/fd").iterdir()))
    resource.prlimit(keeping.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
    kept.start("b", ["sleep", "100"], keeping)
    assert kept.told("b") == ["failed"]
    assert kept.events[-1]["errno"] == errno.EMFILE
    os.kill(kept.record("a").process.pid, signal.SIGKILL)  # type: ignore[union-attr]  # it is there
    eventually(lambda: kept.told("a")[-1] == "ended")


# -- its parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"a": 'q"\\\n\x01é', "b": {"c": 1.5, "d": -3}}, {}])
def test_json(value: dict[str, object]) -> None:
    """What it writes and reads is JSON."""
    assert json.loads(to_json(value)) == value
    assert read_json(json.dumps(value)) == value


def test_it_needs_nothing_of_envctl() -> None:
    """The keeper imports the C parts of the library and itself, which is why it starts in a moment and stays small."""
    folder = Path(__file__).parents[3] / "envctl/engines/local"
    code = f"import sys; before = set(sys.modules); sys.path.insert(0, {str(folder)!r}); import keeper.loop;"
    ended = subprocess.run(
        [PYTHON, "-I", "-S", "-c", f"{code} print(*sorted(set(sys.modules) - before))"],
        capture_output=True,
        text=True,
        check=True,
    )
    slow = {"json", "re", "enum", "signal", "typing", "collections", "functools", "contextlib", "pathlib", "ctypes"}
    assert not {name.partition(".")[0] for name in ended.stdout.split()} & {*slow, "envctl", "threading", "subprocess"}
