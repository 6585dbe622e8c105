"""GitHub's runner, as far as `envctl` meets it: commands in a job's log, the files of a step, the steps of a job.

After the runner's source (src/Runner.Common/ActionCommand.cs, src/Runner.Worker/ActionCommandManager.cs and
FileCommandManager.cs, src/Runner.Sdk/ProcessInvoker.cs) and GitHub's page "Workflow commands".
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

NAMES = {
    *("add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path"),
    *("notice", "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning"),
}
_ESCAPES = (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))


class Command(NamedTuple):
    """One command that the runner obeys."""

    name: str
    properties: Mapping[str, str]
    data: str


def commands(log: str) -> list[Command]:
    """What the runner obeys in what a step wrote."""
    found = (_new_form(line) or _old_form(line) for line in re.split("\r\n|\r|\n", log))
    return [command for command in found if command and command.name in NAMES]


def _new_form(line: str) -> Command | None:
    """`::name key=value,key=value::data`, after white space."""
    line = line.lstrip()
    if not line.startswith("::") or (end := line.find("::", 2)) < 0:
        return None
    return _command(line[2:end], ",", line[end + 2 :])


def _old_form(line: str) -> Command | None:
    """`##[name key=value;key=value]data`, anywhere."""
    if (begin := line.find("##[")) < 0 or (end := line.find("]", begin)) < 0:
        return None
    return _command(line[begin + 3 : end], ";", line[end + 1 :])


def _command(told: str, between: str, data: str) -> Command:
    name, _, rest = told.partition(" ")
    pairs = (pair.split("=", 1) for pair in rest.split(between) if "=" in pair)
    return Command(name, {key.strip(): _decoded(value) for key, value in pairs}, _decoded(data, skip=2))


def _decoded(text: str, skip: int = 0) -> str:
    for written, meant in _ESCAPES[skip:]:
        text = text.replace(written, meant)
    return text


def read_file(text: str) -> dict[str, str]:
    """The file of variables, or of outputs: `NAME=value`, or `NAME<<DELIMITER`, lines, `DELIMITER`."""
    found: dict[str, str] = {}
    lines = text.split("\n")
    assert lines.pop() == "", "the last line must be ended"
    while lines:
        line = lines.pop(0)
        name, sign, rest = re.fullmatch(r"(.*?)(=|<<)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]  # it is there
        if sign == "=":
            found[name] = rest
            continue
        value = []
        while (line := lines.pop(0)) != rest:
            value.append(line)
        found[name] = "\n".join(value)
    return found


def alternative(text: str) -> str:
    """What a job of `envctl ci` holds as a comment that begins with "Or, in place of", as YAML."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.lstrip().startswith("# Or, in place of")) + 2
    indent = lines[begin].index("#")
    block = takewhile(lambda line: line.startswith(" " * indent + "# "), lines[begin:])
    return "".join(f"{line[indent + 2 :]}\n" for line in block)


@dataclass
class Step:
    """A step that was run.

    Attributes:
        name: Its name, or its command.
        code: Exit code.
        log: What it wrote, of both streams.
        environ: The variables it was given.
        outputs: Its outputs.
        summary: What it added to the job's summary.
    """

    name: str
    code: int
    log: str
    environ: Mapping[str, str]
    outputs: Mapping[str, str]
    summary: str


@dataclass
class Job:
    """Runs the steps of a job in their order, as the runner does: each `run:` is a script for `bash -e`.

    Not run are `uses:`, and steps that install something: what they bring is to be on PATH.

    Attributes:
        root: The checkout.
        environ: The variables of its processes; later steps get what earlier ones left in GITHUB_ENV.
        folder: For scripts and for the files of the steps.
        failed: Whether a step has failed.
        reached: Names of the steps whose `if:` was true.
        ran: The steps that were run.
    """

    root: Path
    environ: dict[str, str]
    folder: Path
    failed: bool = False
    reached: list[str] = field(default_factory=list)
    ran: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "main", "GITHUB_RUN_ID": "1"}

    def run(self, steps: Sequence[Mapping[str, str]]) -> None:
        """Run them all."""
        for step in steps:
            name = step.get("name") or step.get("run") or step["uses"]
            conditions = {"success()": not self.failed, "failure()": self.failed, "always()": True}
            if not conditions[step.get("if", "success()")]:
                continue
            self.reached.append(name)
            if "run" in step and "install" not in step["run"].split():
                process = self.start(step["run"])
                log, _ = process.communicate(timeout=120)
                self._ended(name, process.returncode, log)

    def start(self, script: str) -> subprocess.Popen[str]:
        """Begin a step. Its script is the only process that the runner tells when the job is cancelled."""
        files = self._files()
        for file in files.values():
            file.touch()
        path = self.folder / f"step-{len(self.ran)}.sh"
        path.write_text(script + "\n")
        return subprocess.Popen(
            ["bash", "-e", str(path)],
            cwd=self.root,
            env=self.environ | {name: str(file) for name, file in files.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _files(self) -> dict[str, Path]:
        kinds = ("ENV", "OUTPUT", "STEP_SUMMARY")
        return {f"GITHUB_{kind}": self.folder / f"{kind.lower()}-{len(self.ran)}" for kind in kinds}

    def _ended(self, name: str, code: int, log: str) -> None:
        text = {kind: file.read_text() for kind, file in self._files().items()}
        outputs = read_file(text["GITHUB_OUTPUT"])
        self.ran.append(Step(name, code, log, dict(self.environ), outputs, text["GITHUB_STEP_SUMMARY"]))
        self.environ |= read_file(text["GITHUB_ENV"])
        self.failed = self.failed or code != 0
