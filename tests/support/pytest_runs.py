"""Runs of pytest in a scratch project, as its users run it: processes of their own, on a real engine."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness import Project

_NOTE = """
import json, os

def note(**facts):
    # One write, so that the lines of several workers do not mix.
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps({"worker": os.environ.get("PYTEST_XDIST_WORKER", ""), **facts}) + "\\n")

def sql(connection, text):
    from envctl.kinds.postgres.protocol.client import Client
    with Client(connection, 20) as client:
        return client.rows(text)
"""
# pytest_asyncio complains about a setting that nobody here needs; hypothesis and others only cost time.
_PLUGINS = ("envctl.pytest_plugin", "xdist.plugin")


def tidy(project: Project, *, quick: bool = False) -> dict[str, str]:
    """Variables with which a pytest that was called by somebody else writes nothing where the leak oracle looks.

    Args:
        project: The project.
        quick: Whether it loads only the plugins it needs: others of this repository take longer than the tests.
    """
    options = f"-p no:cacheprovider --basetemp={project.folder}/basetemp"
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if quick else {}
    named = "".join(f" -p {name}" for name in _PLUGINS) if quick else ""
    return {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": options + named, **only}


@dataclass
class Run:
    """How a run of pytest ended.

    Attributes:
        code: Its exit code.
        out: What it printed, both streams.
        notes: What its tests wrote down with `note`.
        outcomes: Test → "passed", "failed", "error" or "skipped"; of several the worst.
    """

    code: int
    out: str
    notes: list[dict[str, Any]]
    outcomes: dict[str, str] = field(default_factory=dict)

    def values(self, key: str) -> list[Any]:
        """What was noted under a key, in the order of writing."""
        return [note[key] for note in self.notes if key in note]


class PytestProject:
    """A project whose tests are run.

    Args:
        project: The project.
        tests: The text of its test file.
        config: The text of its envctl.yaml.
        conftest: The text of its conftest.py.
    """

    def __init__(self, project: Project, tests: str, *, config: str, conftest: str = "") -> None:
        self.project = project
        project.config(config)
        project.write("support.py", _NOTE)
        project.write("conftest.py", conftest)
        project.write("test_it.py", f"from support import note, sql\n{tests}")
        project.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider\nfilterwarnings = error\n")
        self._notes = project.folder / "notes"
        self._results = project.folder / "results.xml"
        project.environ |= {
            "NOTES": str(self._notes),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def start(self, *args: str, plugins: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start pytest in a process group of its own."""
        self._notes.write_text("")
        self._results.unlink(missing_ok=True)
        words = [word for name in (*_PLUGINS, *plugins) for word in ("-p", name)]
        words += [f"--basetemp={self.project.folder}/basetemp", f"--junitxml={self._results}"]
        words += ["--envctl-engine", self.project.engine] if self.project.engine else []
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *words, *args],
            cwd=self.project.root,
            env=self.project.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def run(self, *args: str, plugins: tuple[str, ...] = ()) -> Run:
        """Run pytest to its end."""
        return self.finished(self.start(*args, plugins=plugins))

    def finished(self, process: subprocess.Popen[str]) -> Run:
        """Wait for a run's end."""
        out, _ = process.communicate(timeout=100)
        self.project.traces.notice()
        return Run(process.returncode, out, self.notes(), self._outcomes())

    def notes(self) -> list[dict[str, Any]]:
        """What was noted until now."""
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    def _outcomes(self) -> dict[str, str]:
        if not self._results.exists():
            return {}
        found: dict[str, str] = {}
        for case in ET.parse(self._results).iter("testcase"):  # noqa: S314 - our own
            kinds = [{"failure": "failed"}.get(child.tag, child.tag) for child in case if child.tag in _WORSE]
            found[case.get("name", "")] = kinds[0] if kinds else "passed"
        return found


_WORSE = {"failure", "error", "skipped"}
MakeTests = Callable[..., PytestProject]
