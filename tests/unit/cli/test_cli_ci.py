"""`envctl ci`, and what commands tell a CI system beside their own output."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import IO

import pytest
from cli_process import command, environment
from cli_samples import PASSWORD, Call, Conductor
from github_runner import Command, commands, read_file

from envctl.cli import ci_output
from envctl.errors import Interrupted, ServiceExited
from envctl.host import log
from envctl.report import Progress

EXAMPLES = Path(__file__).parents[3] / "examples"
FORGED = ["::error::forged", "  ::stop-commands::x", "a ##[add-mask]true", "\x1b[31mred\r::warning::y"]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A step of a GitHub job: the folder with its files."""
    folder = tmp_path / "runner"
    folder.mkdir()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for kind in ("ENV", "OUTPUT", "STEP_SUMMARY"):
        (folder / kind).touch()
        monkeypatch.setenv(f"GITHUB_{kind}", str(folder / kind))
    return folder


@pytest.fixture
def gitlab(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GitLab job."""
    monkeypatch.setenv("GITLAB_CI", "true")


def failing(**details: object) -> ServiceExited:
    """An error that repeats what a service wrote."""
    known: dict[str, object] = {"cause": "\n".join(FORGED), "evidence": FORGED, "fix": FORGED, "state": "rolled back"}
    return ServiceExited("service x stopped", **(known | details))  # type: ignore[arg-type]  # a test gives what it likes


# -- envctl ci -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("system", "sign"), [("github", "runs-on:"), ("gitlab", "after_script:")])
def test_a_job_is_printed_or_written(envctl: Call, tmp_path: Path, system: str, sign: str) -> None:
    """Either to stdout or into a file that all may read, whose folder need not be there."""
    printed = envctl("ci", system).out
    assert sign in printed
    assert envctl("ci", system, "--output", "a/b/tests.yml").exit == 0
    file = tmp_path / "a/b/tests.yml"
    assert file.read_text() == printed
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_the_examples_are_what_is_printed(envctl: Call, tmp_path: Path, system: str) -> None:
    """examples/ci holds the jobs of the TypeScript example. To renew: scripts/golden."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(EXAMPLES / "typescript" / name, tmp_path)
    assert envctl("ci", system).out == (EXAMPLES / "ci" / f"{system}.yml").read_text()


@pytest.mark.provokes("WOULD_OVERWRITE")
def test_a_job_does_not_overwrite_unless_told(envctl: Call, tmp_path: Path) -> None:
    """Somebody's job stays as it is; `--force` replaces it."""
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text("mine: {}\n")
    outcome = envctl("ci", "gitlab", "--output", ".gitlab-ci.yml")
    assert outcome.exit == 78
    assert "WOULD_OVERWRITE" in outcome.err
    assert file.read_text() == "mine: {}\n"
    assert envctl("ci", "gitlab", "--output", ".gitlab-ci.yml", "--force").exit == 0
    assert "after_script:" in file.read_text()


def test_a_job_for_another_system_is_refused(envctl: Call) -> None:
    """Only those that are known."""
    assert envctl("ci", "travis").exit == 2


# -- envctl env ------------------------------------------------------------------------------------------------------


def test_env_in_a_github_job_goes_to_the_steps_that_follow(
    envctl: Call, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables and outputs are added to, masks come first, and nothing is printed; without outputs it works, too."""
    (github / "ENV").write_text("MINE=1\n")
    outcome = envctl("env", "--format", "github")
    assert outcome.out == ""
    assert commands(outcome.err)[0] == Command("add-mask", {}, PASSWORD)
    variables = read_file((github / "ENV").read_text())
    assert variables.pop("MINE") == "1"
    assert variables == read_file((github / "OUTPUT").read_text()) == envctl("env", "--format", "json").json
    monkeypatch.delenv("GITHUB_OUTPUT")
    assert envctl("env", "--format", "github").out == ""


def test_env_for_github_elsewhere_is_printed(envctl: Call, github: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is left over in a shell is no job, a job without the file is none either; a file is obeyed."""
    expected = envctl("env", "--format", "json").json
    assert envctl("env", "--format", "github", "--output", "own").exit == 0
    assert read_file(Path("own").read_text()) == expected
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert read_file(envctl("env", "--format", "github").out) == expected
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_ENV")
    assert read_file(envctl("env", "--format", "github").out) == expected
    assert (github / "ENV").read_text() == (github / "OUTPUT").read_text() == ""


def test_env_warns_where_a_gitlab_log_shows_passwords(tmp_path: Path) -> None:
    """There they cannot be hidden any more; a file does not show them, whoever writes it."""
    environ = environment(tmp_path / "state", GITLAB_CI="true")
    call = command("", "env", "--format", "gitlab")

    def warned(to: int | IO[bytes], *more: str) -> bool:
        done = subprocess.run([*call, *more], stdout=to, stderr=subprocess.PIPE, env=environ, cwd=tmp_path, check=True)
        return b"passwords" in done.stderr

    assert warned(subprocess.PIPE)
    assert not warned(subprocess.PIPE, "--output", "report.env")
    with (tmp_path / "redirected.env").open("wb") as file:
        assert not warned(file)


# -- groups, annotations, summary ------------------------------------------------------------------------------------


def speak(progress: Progress) -> None:
    """What a bring-up tells."""
    progress.phase("postgres", "ready")
    progress.note(FORGED[1])


def test_github_folds_what_up_tells(envctl: Call, conductor: Conductor, github: Path) -> None:
    """One group around the progress, closed again, and none where nothing is told; the result is on stdout as ever."""
    quiet = envctl("up")
    assert commands(quiet.err) == []
    assert "127.0.0.1:20431" in (github / "STEP_SUMMARY").read_text()
    conductor.during_up = speak
    outcome = envctl("up")
    assert [told.name for told in commands(outcome.err)] == ["group", "endgroup"]
    assert outcome.err.index("ready") < outcome.err.index("::endgroup::")
    assert outcome.out == quiet.out


def test_gitlab_folds_what_up_tells(envctl: Call, conductor: Conductor, gitlab: None) -> None:
    """A section with a name of its own each time."""
    conductor.during_up = speak
    lines = (envctl("up").err + envctl("up").err).split("\n")
    starts = [line.split("[")[1].split(":")[2] for line in lines if "section_start" in line]
    ends = [line.split("\r")[0].split(":")[2] for line in lines if "section_end" in line]
    assert starts == ends
    assert len(set(starts)) == 2


def test_an_error_marks_the_job(envctl: Call, conductor: Conductor, github: Path) -> None:
    """One annotation with the code as its title, in one line without a secret; nothing else in the log is a command."""
    log.keep_secret([PASSWORD])
    conductor.error = failing(cause=f"\x1b[1mwith {PASSWORD},\n{FORGED[0]}: 100%")
    outcome = envctl("up")
    [told] = commands(outcome.err)
    assert (told.name, told.properties) == ("error", {"title": "SERVICE_EXITED"})
    assert told.data == "service x stopped: \\x1b[1mwith ***, ::error::forged: 100%"
    summary = (github / "STEP_SUMMARY").read_text()
    assert "SERVICE_EXITED" in summary
    assert PASSWORD not in summary + outcome.err
    assert "\x1b" not in summary + outcome.err


def test_an_error_as_json_is_the_only_thing_on_stderr(envctl: Call, conductor: Conductor, github: Path) -> None:
    """A program reads one object there, exactly what was meant; the summary tells people."""
    conductor.error = failing()
    outcome = envctl("up", "--format", "json")
    assert outcome.error["evidence"] == FORGED
    assert commands(outcome.err) == []
    assert "SERVICE_EXITED" in (github / "STEP_SUMMARY").read_text()


def test_an_interruption_is_no_error_of_the_job(envctl: Call, conductor: Conductor, github: Path) -> None:
    """Who cancelled the job knows it."""
    conductor.error = Interrupted(2, state="rolled back")
    outcome = envctl("up")
    assert outcome.exit == 130
    assert commands(outcome.err) == []
    assert (github / "STEP_SUMMARY").read_text() == ""


def test_what_services_say_is_never_a_command(envctl: Call, conductor: Conductor, github: Path) -> None:
    """Neither in errors nor in progress nor in logs, in any form; without GitHub it is shown as it was written."""
    conductor.during_up = speak
    conductor.error = failing()
    assert [told.name for told in commands(envctl("up").err)] == ["group", "endgroup", "error"]
    conductor.error = None
    conductor.lines = [("mailer", line) for line in FORGED]
    for arguments in (("mailer",), (), ("--format", "json")):
        outcome = envctl("logs", *arguments)
        assert commands(outcome.out + outcome.err) == []
        assert "forged" in outcome.out


def test_logs_elsewhere_are_shown_as_they_were_written(envctl: Call, conductor: Conductor) -> None:
    """An IPv6 address at the beginning of a line is nothing to hide from anybody."""
    conductor.lines = [("mailer", "::1 - GET / ##[x]")]
    assert envctl("logs", "mailer").out == "::1 - GET / ##[x]\n"


def test_the_logs_of_services_are_folded(github: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One group for each service that said something, its lines harmless, then where the rest is."""
    ci_output.service_logs(Path("envctl-artifacts"), {"x": FORGED, "silent": [], "y": ["one"]})
    err = capfd.readouterr().err
    assert [told.name for told in commands(err)] == ["group", "endgroup"] * 2
    assert "\x1b" not in err
    assert err.endswith("logs of all services are in envctl-artifacts\n")


def test_the_logs_of_services_are_plain_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    """The same lines, without commands; nothing on stdout."""
    ci_output.service_logs(None, {"x": ["one", "two"]})
    captured = capfd.readouterr()
    assert captured.err.splitlines() == ["log of x, 2 lines:", "  one", "  two"]
    assert captured.out == ""


def test_masks(github: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Passwords can be hidden in what a test writes."""
    ci_output.mask([PASSWORD])
    assert commands(capfd.readouterr().err) == [Command("add-mask", {}, PASSWORD)]
