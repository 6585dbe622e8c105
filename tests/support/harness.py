"""A project of its own for each test, the real command line in processes of its own, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import leaks
import process_table
from docker_presence import Thing, docker, path_without_docker
from leaks import MARK, Traces
from whole_engine import TEST, EventRecorder, session_folder

T = TypeVar("T")
_LEAK_LIMIT_S = 5.0
# What a process of a test gets from ours: enough to find programs, the engine and Python's packages. All else, CI's
# variables above all, would decide which branch the tests are on.
_PASSED_ON = (
    *(
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "TZ",
        "XDG_RUNTIME_DIR",
        "VIRTUAL_ENV",
        "NODE_PATH",
        "PYTHONPATH",
    ),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


def eventually(check: Callable[[], T], *, limit_s: float = 5.0, every_s: float = 0.05) -> T:
    """The first true answer of `check`, or its last answer when `limit_s` is over.

    The one place where these tests sleep.
    """
    deadline_s = time.monotonic() + limit_s
    while not (answer := check()) and time.monotonic() < deadline_s:
        time.sleep(every_s)
    return answer


@dataclass(frozen=True)
class Result:
    """How a call of envctl ended. `seconds` is the whole process, start of Python included."""

    code: int
    out: str
    err: str
    seconds: float
    args: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """Stdout, parsed."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error on stderr, parsed; progress may stand before it."""
        lines = [line for line in self.err.splitlines() if line.startswith('{"error"')]
        assert lines, f"{self}: no JSON error on stderr"
        error: dict[str, Any] = json.loads(lines[-1])["error"]
        return error

    def __str__(self) -> str:
        """For the message of a failed assertion."""
        return f"envctl {' '.join(self.args)} → {self.code} in {self.seconds:.2f} s\n{self.out}\n{self.err}"


class Project:
    """A fresh git repository on branch `main` with one commit, and a state directory of its own.

    Args:
        folder: Where to make it.
        events: Which container mounted which volume; None for a project that has no containers.
        name: Of the repository's folder.
        engine: What each `up` is asked for, as `--engine`; None for the default. "embedded" can find no Docker.

    Attributes:
        root: The repository.
        state: ENVCTL_STATE_DIR, mode 0700.
        folder: Holds both, and TMPDIR; for a test's other files too.
        mark: In the environment of every process of this project, as ENVCTL_TEST_MARK.
        environ: The variables every call gets; a test may add to them.
        command: What runs envctl.
    """

    def __init__(
        self, folder: Path, *, events: EventRecorder | None = None, name: str = "shop", engine: str | None = None
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.engine = engine
        self.folder = folder / self.mark[:10]
        self.root, self.state = self.folder / name, self.folder / "state"
        temporary, run = self.folder / "tmp", self.folder / "run"
        for path, mode in ((self.root, 0o755), (self.state, 0o700), (temporary, 0o700), (run, 0o711)):
            path.mkdir(parents=True)
            path.chmod(mode)
        self.environ: dict[str, str] = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        if engine == "embedded":
            self.environ = {name: value for name, value in self.environ.items() if not name.startswith("DOCKER_")}
            self.environ["PATH"] = path_without_docker(session_folder())
        self.environ |= {
            "ENVCTL_STATE_DIR": str(self.state),
            "ENVCTL_RUN_DIR": str(run),
            "ENVCTL_CACHE_DIR": str(session_folder() / "cache"),
            MARK: self.mark,
            "TMPDIR": str(temporary),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": f"t{'@example.org' if what == 'EMAIL' else ''}"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.traces = Traces(
            *(self.mark, self.folder, self.root, self.state, temporary, run),
            containers=engine != "embedded",
            events=events,
        )
        self.command = [sys.executable, "-X", "faulthandler", "-m", "envctl"]
        self._started: list[subprocess.Popen[str]] = []
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("README", "A project of a test.\n")
        self.git("add", "README")
        self.git("commit", "--quiet", "--message=first")

    # -- files ---------------------------------------------------------------------------------------------------

    def write(self, path: str, text: str, *, mode: int = 0o644) -> Path:
        """Write a file of the project."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        self.traces.written[path] = text.encode()
        return file

    def config(self, yaml_text: str) -> Path:
        """Write envctl.yaml."""
        return self.write("envctl.yaml", yaml_text)

    def move(self, *, state: Path | None = None, run: Path | None = None) -> None:
        """Have state directory or run root somewhere else, before anything is there."""
        if state is not None:
            state.mkdir(parents=True, mode=0o700)
            self.state = self.traces.state = state
            self.environ["ENVCTL_STATE_DIR"] = str(state)
        if run is not None:
            run.mkdir(parents=True)
            run.chmod(0o711)
            self.traces.run = run
            self.environ["ENVCTL_RUN_DIR"] = str(run)

    def allow_files(self, *patterns: str) -> None:
        """Expect files with these names (patterns, relative to the state directory or the checkout)."""
        self.traces.allowed_files.update(patterns)

    def git(self, *args: str, cwd: Path | None = None) -> str:
        """Run git in the checkout."""
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.root, env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    # -- the command line ------------------------------------------------------------------------------------------

    def run(
        self,
        *args: str,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120,
        cwd: Path | None = None,
    ) -> Result:
        """Run envctl to its end.

        Args:
            args: Its arguments.
            check: Whether an exit code other than 0 fails the test.
            env: Variables beside the project's own.
            timeout_s: After this the whole process group is killed and the test fails.
            cwd: Folder to run in, the checkout by default.
        """
        began_s = time.monotonic()
        process = self._popen(args, env, cwd, subprocess.DEVNULL)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise _stuck(process, timeout_s) from None
        finally:
            self.traces.notice()
        result = Result(process.returncode, out, err, time.monotonic() - began_s, args)
        if check:
            assert result.code == 0, str(result)
        return result

    def start(self, *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start envctl in a process group of its own, with pipes for all three streams. The teardown ends it."""
        process = self._popen(args, env, cwd, subprocess.PIPE)
        self._started.append(process)
        return process

    def code_of(self, process: subprocess.Popen[str], timeout_s: float = 60) -> int:
        """The exit code of what `start` started; the test fails, with its stacks, where it does not end in time."""
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise _stuck(process, timeout_s) from None

    def _popen(
        self, args: tuple[str, ...], env: Mapping[str, str] | None, cwd: Path | None, stdin: int
    ) -> subprocess.Popen[str]:
        if args[0] == "up" and self.engine and "--engine" not in args:
            args = ("up", "--engine", self.engine, *args[1:])
        return subprocess.Popen(
            [*self.command, *args],
            cwd=cwd or self.root,
            env={**self.environ, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )

    def up(self, *args: str, **how: Any) -> dict[str, Any]:
        """`envctl up`, which must succeed; what it reports."""
        report: dict[str, Any] = self.run("up", "--format", "json", *args, check=True, **how).json
        return report

    def error(self, *args: str, **how: Any) -> dict[str, Any]:
        """The error of a call that must fail, as `--format json` tells it; its exit code is the process's."""
        result = self.run(args[0], "--format", "json", *args[1:], **how)
        assert result.code != 0, str(result)
        assert result.out == "", f"a failed call prints no result\n{result}"
        assert "Traceback" not in result.err, str(result)
        assert result.error["exit"] == result.code, str(result)
        return result.error

    # -- the engine ------------------------------------------------------------------------------------------------

    def docker(self, *args: str, check: bool = True) -> str:
        """What `docker ARGS` prints, without the last line end. Label what you create with `--label` `own_label`."""
        return docker(*args, limit_s=120, check=check).rstrip("\n")

    @property
    def own_label(self) -> str:
        """Label for what a test itself creates on the engine: the teardown removes it before it looks for leaks."""
        return f"{TEST}={self.mark}"

    def labelled(self) -> list[Thing]:
        """Containers, networks and volumes that this project's envctl has made and that are there now."""
        self.traces.notice()
        return [thing for thing in leaks.owned_objects(self.traces) if TEST not in thing.labels]

    def containers(self) -> dict[str, str]:
        """Service → container id, of this project's containers, stopped ones too."""
        return {t.labels["dev.envctl.service"]: t.id for t in self.labelled() if t.noun == "container"}

    def inspect(self, service: str) -> dict[str, Any]:
        """`docker inspect` of a service's container."""
        found: dict[str, Any] = json.loads(self.docker("inspect", self.containers()[service]))[0]
        return found

    # -- what runs, on whichever engine ------------------------------------------------------------------------------

    def instances(self, environment: str = "") -> dict[str, str]:
        """Service → what is different after each of its starts; only of what runs now.

        Args:
            environment: Name of the environment, where there are several.
        """
        if self.traces.containers:
            return {service: f"{one['Id']} {one['State']['StartedAt']}" for service, one in self._running(environment)}
        return {name: f"{one.pid} {one.start_ticks}" for name, one in self.first_processes(environment).items()}

    def _running(self, environment: str) -> list[tuple[str, dict[str, Any]]]:
        things = [thing for thing in self.labelled() if thing.noun == "container"]
        wanted = [t for t in things if environment in ("", t.labels["dev.envctl.environment"])]
        found = json.loads(self.docker("inspect", *(thing.id for thing in wanted))) if wanted else []
        names = {thing.id: thing.labels["dev.envctl.service"] for thing in wanted}
        return [(names[one["Id"]], one) for one in found if one["State"]["Running"]]

    def service_folders(self, environment: str = "") -> dict[str, Path]:
        """Service → its folder in the state directory, of services that are processes."""
        found: dict[str, Path] = {}
        for file in self.state.glob("stacks/*/*/definition.json"):
            labels = json.loads(file.read_bytes())["labels"]
            if environment in ("", labels["dev.envctl.environment"]):
                found[file.parent.name] = file.parent
        return found

    def first_processes(self, environment: str = "") -> dict[str, process_table.Process]:
        """Service → its first process, of services that are processes and run now."""
        found: dict[str, process_table.Process] = {}
        for name, folder in self.service_folders(environment).items():
            with suppress(FileNotFoundError):
                known = json.loads((folder / "process.json").read_bytes())["process"]
                now = process_table.look_at(known["pid"])
                if now is not None and now.start_ticks == known["start_ticks"]:
                    found[name] = now
        return found

    def processes(self) -> dict[int, process_table.Process]:
        """Every process of this project that has not ended."""
        self.traces.notice()
        return leaks.processes(self.traces)

    def kill(self, service: str) -> None:
        """`kill -9` of a service's first process."""
        before = self.instances()
        if self.traces.containers:
            self.docker("kill", self.containers()[service])
        else:
            self.traces.notice()
            os.kill(self.first_processes()[service].pid, signal.SIGKILL)
        assert eventually(lambda: service in before and service not in self.instances()), f"{service} did not end"

    # -- the end ---------------------------------------------------------------------------------------------------

    def leaks(self, *, limit_s: float = _LEAK_LIMIT_S) -> list[str]:
        """What is there of this project beside its files, looked for until nothing is or `limit_s` is over."""
        found: list[str] = []

        def nothing() -> bool:
            found[:] = leaks.find(self.traces)
            return not found

        eventually(nothing, limit_s=limit_s, every_s=0.2)
        return found

    def assert_nothing_left(self) -> None:
        """Fail unless all is gone: for tests that promise it before the teardown removes anything."""
        left = self.leaks()
        assert not left, "left behind:\n  " + "\n  ".join(left)

    def assert_nothing_left_but(self, pid: int) -> None:
        """The same, where one process of the test's own is still there."""

        def nothing() -> bool:
            return not [line for line in leaks.find(self.traces) if not line.startswith(f"process {pid}:")]

        assert eventually(nothing, limit_s=_LEAK_LIMIT_S, every_s=0.2), self.leaks(limit_s=0)

    def close(self, *, limit_s: float = _LEAK_LIMIT_S) -> list[str]:
        """End and remove everything with envctl's own commands; what is left after that, which is then forced away."""
        for process in self._started:
            _kill(process)
            with suppress(subprocess.TimeoutExpired, ValueError):
                process.communicate(timeout=10)
        self._remove_own()
        complaints = self._sweep()
        left = self.leaks(limit_s=limit_s)
        if left:
            leaks.force_away(self.traces)
        return left and [*left, *complaints]

    def _remove_own(self) -> None:
        for thing in leaks.owned_objects(self.traces):
            if thing.labels.get(TEST) == self.mark:
                leaks.remove_thing(thing)

    def _sweep(self) -> list[str]:
        """`down --all`, then `down --purge` of each environment whose data that has kept."""
        calls: list[Result] = []
        if self._has_rows() or self.labelled() or any(self.state.glob("stacks/*")):
            calls.append(self.run("down", "--all", "--force", cwd=self.folder))
        try:
            rows = self.traces.rows("SELECT checkout, branch, label FROM environments WHERE state = 'down'")
        except Exception:  # noqa: BLE001 - a damaged registry, which the next command repairs
            rows = []
        for checkout, branch, label in rows:
            folder = Path(str(checkout))
            folder.mkdir(parents=True, exist_ok=True)
            options = ["--branch", str(branch)] if branch else []
            options += ["--name", str(label)] if label else []
            calls.append(self.run("down", "--purge", *options, cwd=folder))
        return [f"while cleaning up: {call}" for call in calls if call.code != 0]

    def _has_rows(self) -> bool:
        try:
            return bool(self.traces.rows("SELECT 1 FROM environments"))
        except Exception:  # noqa: BLE001 - a damaged registry, which the next command repairs
            return True


def _stuck(process: subprocess.Popen[str], timeout_s: float) -> AssertionError:
    """Ends a program that did not end by itself; the error has the stacks of its threads."""
    process.send_signal(signal.SIGABRT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    _kill(process)
    out, err = process.communicate()
    return AssertionError(f"{process.args} did not end in {timeout_s} s\n{out}\n{err}")


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
