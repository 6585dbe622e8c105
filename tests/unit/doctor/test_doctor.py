"""What the doctor says of machines that are not well. The docker program is replaced by a small script."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from envctl.conductor.place import Selection
from envctl.doctor import Finding, docker, examine
from envctl.engines.docker import cli

GOOD = """#!/bin/sh
case "$*" in
  *"compose version"*) echo 2.29.1 ;;
  *"buildx version"*) echo buildx 0.13.1 ;;
  *--version*) echo Docker version 28.2.2 ;;
  *"image inspect"*redis*) echo sha256:1 ;;
  *"image inspect"*) echo "Error: No such image" >&2; exit 1 ;;
  *info*) echo '{"NCPU": 2, "MemTotal": 1073741824, "Driver": "overlay2", "OperatingSystem": "Debian"}' ;;
  *version*) echo '{"Client": {}, "Server": {"Version": "26.1.5"}}' ;;
esac
"""
STOPPED = """#!/bin/sh
case "$*" in
  *--version*|*"compose version"*|*"buildx version"*) echo 2.29.1 ;;
  *) echo "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?" >&2; exit 1 ;;
esac
"""
HANGING = "#!/bin/sh\nexec sleep 60\n"


@pytest.fixture
def selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Selection]:
    """A folder without git, a private state directory, and only our docker on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for cached in (cli.program, cli.environment):
        cached.cache_clear()
    environ: Mapping[str, str] = {"ENVCTL_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    (tmp_path / "project").mkdir()
    yield Selection(start=tmp_path / "project", environ=environ)
    for cached in (cli.program, cli.environment):
        cached.cache_clear()


def _install(selection: Selection, script: str) -> None:
    program = selection.start.parent / "bin" / "docker"
    program.write_text(script)
    program.chmod(0o755)


def _examined(selection: Selection) -> dict[str, Finding]:
    return {f"{finding.topic} {finding.name}": finding for finding in examine(selection)}


def test_a_good_machine_has_no_problems(selection: Selection) -> None:
    """Everything asked for is told, nothing blocks, and nothing is created."""
    _install(selection, GOOD)
    found = _examined(selection)
    assert [finding for finding in found.values() if finding.exit_code] == []
    assert found["engine engine"].value == "26.1.5"
    assert found["engine compose plugin"].value == "2.29.1"
    assert "present" in found["engine image of redis"].value
    assert "absent" in found["engine image of postgres"].value
    assert not (selection.start.parent / "state").exists()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "unix:///var/run/docker.sock (from default)"),
        ({"DOCKER_HOST": "tcp://10.0.0.5:2375"}, "tcp://10.0.0.5:2375 (from DOCKER_HOST)"),
    ],
)
def test_the_setting_that_chose_the_endpoint_is_named(
    selection: Selection, environ: Mapping[str, str], expected: str
) -> None:
    """Most engine problems are a forgotten DOCKER_HOST or context."""
    _install(selection, GOOD)
    other = Selection(start=selection.start, environ={**selection.environ, **environ})
    assert _examined(other)["engine endpoint"].value == expected


def test_without_docker_the_rest_is_still_told(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """No docker program: 69 with a fix, after everything else that could be found."""
    monkeypatch.setenv("PATH", str(selection.start.parent / "bin"))
    found = _examined(selection)
    assert (found["engine problem"].code, found["engine problem"].exit_code) == ("ENGINE_NOT_INSTALLED", 69)
    assert found["engine problem"].fix
    assert "state directory" in found
    assert found["engine endpoint"].value.startswith("unix://")


def test_a_stopped_engine_is_69(selection: Selection) -> None:
    """The program is there, the engine does not answer."""
    _install(selection, STOPPED)
    found = _examined(selection)
    assert (found["engine engine"].code, found["engine engine"].exit_code) == ("ENGINE_UNREACHABLE", 69)
    assert found["engine docker program"].value == "2.29.1"


def test_a_hanging_engine_is_told_within_its_limit(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions hang, they share one deadline."""
    monkeypatch.setattr(docker, "LIMIT_S", 0.5)
    _install(selection, HANGING)
    began = time.monotonic()
    found = _examined(selection)
    assert time.monotonic() - began < 5
    assert found["engine engine"].code == "ENGINE_TIMEOUT"


@pytest.mark.parametrize(
    ("old", "new", "name"), [("26.1.5", "20.10.24", "engine engine"), ("2.29.1", "2.17.3", "engine compose plugin")]
)
def test_versions_that_are_too_old_are_76(selection: Selection, old: str, new: str, name: str) -> None:
    """The oldest that works is named."""
    _install(selection, GOOD.replace(old, new))
    found = _examined(selection)[name]
    assert (found.code, found.exit_code, found.value) == ("ENGINE_TOO_OLD", 76, new)


def test_a_broken_configuration_does_not_hide_the_engine(selection: Selection) -> None:
    """Each topic is examined whatever the others say."""
    _install(selection, GOOD)
    (selection.start / "envctl.yaml").write_text("servces: {}\n")
    found = _examined(selection)
    assert found["configuration problem"].code == "CONFIG_INVALID"
    assert "servces" in found["configuration problem"].problem
    assert found["engine engine"].value == "26.1.5"


def test_an_open_state_directory_is_77(selection: Selection) -> None:
    """It would hold passwords."""
    _install(selection, GOOD)
    state = selection.start.parent / "state"
    state.mkdir()
    state.chmod(0o755)
    assert _examined(selection)["state problem"].exit_code == 77


def test_a_proxy_without_an_exception_for_loopback_is_a_warning(selection: Selection) -> None:
    """It stops no `up`, but the user's HTTP clients."""
    _install(selection, GOOD)
    environ = {**selection.environ, "http_proxy": "http://user:secret@proxy:3128"}
    found = _examined(Selection(start=selection.start, environ=environ))
    assert found["network NO_PROXY"].problem
    assert found["network NO_PROXY"].exit_code == 0
    environ["NO_PROXY"] = "localhost, 127.0.0.1"
    assert not _examined(Selection(start=selection.start, environ=environ))["network NO_PROXY"].problem


def test_as_json_a_problem_has_its_fix(selection: Selection) -> None:
    """Programs see whether it blocks."""
    _install(selection, STOPPED)
    told = _examined(selection)["engine engine"].as_dict()
    assert told["blocking"] is True
    assert told["fix"]
