"""For all tests: which need a Docker Engine, and what no test may leave behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

import docker_presence
import prepared_images
from harness import Project
from whole_engine import SESSION, EventRecorder, WholeEngine, session_folder

_OF_PYTEST = {"PYTEST_CURRENT_TEST"}
_WHOLE_ENGINE = pytest.StashKey[WholeEngine]()
_MARKED = pytest.StashKey[str]()


def _is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One name for the session, and places for envctl's own fixtures; the processes of pytest-xdist inherit them."""
    usual = {signal.SIGHUP: signal.SIG_DFL, signal.SIGQUIT: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    for number, handler in usual.items():  # under `nohup`, or in the background of a script, they are ignored
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if _is_controller(config):
        os.environ[SESSION] = f"{int(time.time()):x}{uuid.uuid4().hex[:6]}"
        for what in ("STATE", "RUN", "CACHE"):
            os.environ[f"ENVCTL_{what}_DIR"] = str(session_folder() / what.lower())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is below tests/scenario needs an engine, but for what runs on the embedded one."""
    scenarios = Path(__file__).parent / "scenario"
    for item in items:
        case = getattr(item, "callspec", None)
        if scenarios in item.path.parents and not (case and case.params.get("engine") == "embedded"):
            item.add_marker("engine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without an engine such a test is skipped; in CI, where nobody reads the list of what was skipped, it fails."""
    if item.get_closest_marker("engine") is None or (lack := docker_presence.missing()) is None:
        return
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run this test, but {lack}", pytrace=False)
    pytest.skip(f"NOT TESTED ON DOCKER: {lack}")


@pytest.fixture(autouse=True)
def unchanged_environ() -> Iterator[None]:
    """A test that leaves os.environ changed fails: the next one would run in another world."""
    before = {name: value for name, value in os.environ.items() if name not in _OF_PYTEST}
    yield
    after = {name: value for name, value in os.environ.items() if name not in _OF_PYTEST}
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update(before)
        pytest.fail(f"this test changed os.environ: {', '.join(changed)}")


@pytest.fixture(scope="session")
def engine_events() -> Iterator[EventRecorder]:
    """Which container mounted which volume, from the first test with containers on."""
    recorder = EventRecorder()
    yield recorder
    recorder.stop()


@pytest.fixture(scope="session")
def projects_folder() -> Path:
    """Where the projects are; servers that are not root's must be able to pass through."""
    folder = session_folder()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    return folder


def _projects(folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Project]]:
    made: list[Project] = []

    def make(name: str = "shop", *, engine: str | None = None) -> Project:
        events = None if engine == "embedded" else request.getfixturevalue("engine_events")
        made.append(Project(folder, events=events, name=name, engine=engine))
        return made[-1]

    yield make
    left = [line for project in made for line in project.close()]
    if left:
        pytest.fail("left behind after the test:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def make_project(projects_folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Project]]:
    """Makes projects; each is removed and checked for leaks at the end, whether the test passed or not."""
    yield from _projects(projects_folder, request)


@pytest.fixture(scope="module")
def make_shared_project(projects_folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Project]]:
    """The same for tests of one file that only look at an environment."""
    yield from _projects(projects_folder, request)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember what the engine holds before the first test."""
    if _is_controller(session.config) and docker_presence.missing() is None:
        session.config.stash[_WHOLE_ENGINE] = WholeEngine(str(session_folder()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last test the whole engine holds nothing new that can be ours."""
    if not _is_controller(session.config):
        return
    watch = session.config.stash.get(_WHOLE_ENGINE, None)
    if watch is not None:
        prepared_images.remove(prepared_images.of_session(session_folder()))
    if watch is not None and (left := watch.left()):
        session.config.stash[_MARKED] = "\n".join(left)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing of the session stays; envctl's own fixtures have ended what ran in there."""
    if _is_controller(config) and SESSION in os.environ:
        shutil.rmtree(session_folder(), ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was skipped or left on the engine, where it cannot be overlooked."""
    lack = docker_presence.missing()
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "NOT TESTED ON DOCKER" in str(report.longrepr)
    ]
    if lack and skipped:
        terminalreporter.write_line(f"NOT TESTED ON DOCKER: {len(skipped)} tests, because {lack}", red=True, bold=True)
    if left := config.stash.get(_MARKED, None):
        terminalreporter.section("left on the Docker Engine after the last test", red=True)
        terminalreporter.write_line(left)
