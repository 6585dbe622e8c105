"""Test suites as users have them: a folder with tests of `suites/`, run by pytest in processes of their own."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from benchmarks.process import BenchmarkError, run
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER, ComposePeer, EnvctlProject

_SUITES = Path(__file__).with_name("suites")
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite with what provides its services.

    Attributes:
        project: Where it is, and envctl's verbs there.
        environ: What pytest gets.
        plugins: The plugins of pytest that it uses, by entry point; all others that are installed are blocked.
        number: How many tests it has.
        arguments: For pytest.
    """

    project: EnvctlProject
    environ: Mapping[str, str]
    plugins: frozenset[str]
    number: int
    arguments: tuple[str, ...]

    def timed(self) -> Callable[[], float]:
        """Seconds of one whole run, each test passed."""
        argv = self._argv()

        def once() -> float:
            done = run(argv, self.project.root, self.environ, _LIMIT_S).checked()
            if not re.search(rf"^{self.number} passed", done.out, re.MULTILINE):
                raise BenchmarkError(f"not all of {self.number} tests have passed:\n{done.out}{done.err}")
            return done.seconds

        return once

    def _argv(self) -> list[str]:
        installed = {point.name for point in entry_points(group="pytest11")}
        blocked = [word for name in sorted(installed - self.plugins) for word in ("-p", f"no:{name}")]
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *blocked, *self.arguments]


class Suites:
    """Makes the suites of one measure, each in a project of its own.

    Args:
        place: The sandbox.
        name: The measure's.
        tests: The file of `suites/`.
        number: How many tests that has.
        workers: How many workers of pytest-xdist run them; 0 for none.
    """

    def __init__(self, place: Sandbox, name: str, tests: str, number: int, workers: int = 0) -> None:
        self._place, self._name, self._tests, self._number = place, name, tests, number
        self._plugins = frozenset({"xdist"} if workers else ())
        self._arguments = ("-n", str(workers)) if workers else ()

    def plain(self, name: str, *plugins: str, conftest: str = "", variables: Mapping[str, str] | None = None) -> Suite:
        """With these plugins, by entry point, and a conftest.py of `suites/`."""
        project = self._place.project(f"{self._name}-{name}", "postgres-redis.yaml")
        shutil.copy(_SUITES / self._tests, project.root)
        if conftest:
            shutil.copy(_SUITES / conftest, project.root / "conftest.py")
        (project.root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        environ = {**project.environ, **(variables or {})}
        return Suite(project, environ, self._plugins | {*plugins}, self._number, self._arguments)

    def envctl(self, name: str, engine: str) -> Suite:
        """With services by envctl."""
        suite = self.plain(name, "envctl", conftest="by_envctl.py")
        project = EnvctlProject(suite.project.program, suite.project.root, suite.project.environ, engine)
        arguments = (*suite.arguments, "--envctl-engine", engine)
        return Suite(project, suite.environ, suite.plugins, suite.number, arguments)

    def pytest_docker(self, name: str, peer: ComposePeer, *, stays: bool = False) -> Suite:
        """With services by pytest-docker, in the peer's Compose project; it stays up after the run with `stays`."""
        variables = {**peer.environ, "PEER_FILE": str(peer.file), "PEER_PROJECT": peer.name}
        variables |= {"PEER_STAYS": "1"} if stays else {}
        return self.plain(name, "docker", conftest="by_pytest_docker.py", variables=variables)

    def testcontainers(self, name: str) -> Suite:
        """With services by Testcontainers."""
        variables = {**self._place.testcontainers_environ, "PYTHONPATH": str(PEER)}
        return self.plain(name, conftest="by_testcontainers.py", variables=variables)
