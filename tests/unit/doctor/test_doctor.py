"""What the doctor says of machines that are not well. Docker is a stand-in: a small script and a socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fake_docker import FakeDocker

from envctl.conductor.place import Selection
from envctl.doctor import Finding, docker, examine
from envctl.engines import choosing
from envctl.engines.docker import cli

GOOD = """
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
STOPPED = """
case "$*" in
  *--version*|*"compose version"*|*"buildx version"*) echo 2.29.1 ;;
  *) echo "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?" >&2; exit 1 ;;
esac
"""
HANGING = "exec sleep 60"


CONTAINER_ONLY = "services:\n  mailer: {image: axllent/mailpit, port: 1025}\n"


@pytest.fixture
def engine() -> Iterator[FakeDocker]:
    """What answers at the socket."""
    with FakeDocker() as fake:
        yield fake


@pytest.fixture
def selection(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Selection]:
    """A folder without git, a private state directory, and only our docker on PATH."""
    engine.program("bin/docker", GOOD)
    monkeypatch.setenv("PATH", engine.environ["PATH"])
    for cached in (cli.program, cli.environment):
        cached.cache_clear()
    project = engine.folder / "project"
    project.mkdir()
    yield Selection(start=project, environ=engine.environ)
    for cached in (cli.program, cli.environment):
        cached.cache_clear()


def _changed(selection: Selection, **variables: str) -> Selection:
    return replace(selection, environ={**selection.environ, **variables})


def _needs_containers(selection: Selection) -> None:
    (selection.start / "envctl.yaml").write_text(CONTAINER_ONLY)


def _examined(selection: Selection) -> dict[str, Finding]:
    return {f"{finding.topic} {finding.name}": finding for finding in examine(selection)}


def test_a_good_machine_has_no_problems(selection: Selection) -> None:
    """Everything asked for is told, nothing blocks, and nothing is created."""
    found = _examined(selection)
    assert [finding for finding in found.values() if finding.exit_code] == []
    assert found["engine chosen"].value == "compose: Docker Engine 26.1.5 answers"
    assert found["docker engine"].value == "26.1.5"
    assert found["docker compose plugin"].value == "2.29.1"
    assert "present" in found["docker image of redis"].value
    assert "absent" in found["docker image of postgres"].value
    assert not (selection.start.parent / "state").exists()


@pytest.mark.parametrize("address", ["", "tcp://127.0.0.1:9"])
def test_the_setting_that_chose_the_endpoint_is_named(selection: Selection, address: str) -> None:
    """Most engine problems are a forgotten DOCKER_HOST or context."""
    expected = f"{address} (from DOCKER_HOST)" if address else "unix:///var/run/docker.sock (from default)"
    assert _examined(_changed(selection, DOCKER_HOST=address))["docker endpoint"].value == expected


# -- which engine --------------------------------------------------------------------------------------------------


def test_without_docker_the_embedded_engine_is_enough(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """No docker program is no problem: the programs that serve the kinds are told with their versions."""
    monkeypatch.setenv("PATH", "/nowhere")
    found = _examined(_changed(selection, PATH="/nowhere"))
    assert found["engine chosen"].value.startswith("embedded: the docker program is not installed")
    assert [finding for finding in found.values() if finding.topic in ("docker", "embedded") and finding.problem] == []
    for kind in ("postgres", "redis", "websocket"):
        name, version, at, folder = found[f"embedded {kind}"].value.split(" ", 3)
        assert name
        assert version[0].isdigit()
        assert (at, folder[0]) == ("at", "/")
    assert found["embedded services"].value == "all can run without a container"
    assert found["embedded runs as"].value
    assert found["embedded cache"].value.startswith(str(selection.start.parent))
    assert found["embedded free disk"].value


def test_a_stopped_engine_is_told_where_the_embedded_engine_is_chosen(selection: Selection, engine: FakeDocker) -> None:
    """Whoever wonders why Docker was not chosen finds the reason and the fix, and is not stopped."""
    engine.program("bin/docker", STOPPED)
    found = _examined(_changed(selection, DOCKER_HOST="unix:///nowhere"))
    assert found["engine chosen"].value == "embedded: no Docker engine answers at unix:///nowhere"
    assert (found["docker engine"].exit_code, found["docker engine"].code) == (0, "")
    assert found["docker engine"].fix
    assert "docker image of postgres" not in found


def test_neither_engine_is_69(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """No docker program and an image that needs one: 69 with both ways out, after everything else that was found."""
    _needs_containers(selection)
    monkeypatch.setenv("PATH", "/nowhere")
    found = _examined(_changed(selection, PATH="/nowhere"))
    assert (found["engine chosen"].code, found["engine chosen"].exit_code) == ("ENGINE_NOT_INSTALLED", 69)
    assert any('service "mailer"' in line for line in found["engine chosen"].fix)
    assert 'service "mailer" needs a container' in found["embedded services"].value
    assert "state directory" in found
    assert found["docker endpoint"].value.startswith("unix://")


def test_a_named_engine_must_be_there(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--engine compose` nothing takes Docker's place, and with `--engine embedded` Docker does not matter."""
    monkeypatch.setenv("PATH", "/nowhere")
    nowhere = _changed(selection, PATH="/nowhere")
    found = _examined(replace(nowhere, engine="compose"))
    assert found["engine asked for"].value == "compose (from --engine)"
    assert (found["docker program"].code, found["docker program"].exit_code) == ("ENGINE_NOT_INSTALLED", 69)
    assert found["docker program"].fix
    found = _examined(replace(nowhere, engine="embedded"))
    assert [finding for finding in found.values() if finding.exit_code] == []


def test_what_the_embedded_engine_lacks_is_in_its_way_alone(selection: Selection) -> None:
    """A service that needs a container is 78 where the embedded engine is asked for, and a remark elsewhere."""
    _needs_containers(selection)
    found = _examined(replace(selection, engine="embedded"))["embedded services"]
    assert (found.code, found.exit_code) == ("UNSUPPORTED", 78)
    assert not _examined(selection)["embedded services"].problem


def test_missing_programs_say_how_to_get_them(selection: Selection) -> None:
    """As the error of `up` would."""
    text = "engine: embedded\nengine_options: {postgres_bin: /nowhere}\nservices: {postgres: {}}\n"
    (selection.start / "envctl.yaml").write_text(text)
    found = _examined(selection)
    assert found["engine asked for"].value == "embedded (from the configuration)"
    assert (found["embedded postgres"].code, found["embedded postgres"].exit_code) == ("ENGINE_NOT_INSTALLED", 69)
    assert found["embedded postgres"].fix


def test_an_engine_that_there_is_not_is_78(selection: Selection) -> None:
    """The ones there are, are named."""
    found = _examined(replace(selection, engine="swarm"))["engine chosen"]
    assert (found.code, found.exit_code) == ("UNSUPPORTED", 78)
    assert "compose" in found.fix[0]


# -- Docker --------------------------------------------------------------------------------------------------------


def _with_compose(selection: Selection) -> dict[str, Finding]:
    return _examined(replace(selection, engine="compose"))


def test_a_stopped_engine_is_69(selection: Selection, engine: FakeDocker) -> None:
    """The program is there, the engine does not answer."""
    engine.program("bin/docker", STOPPED)
    found = _with_compose(selection)
    assert (found["docker engine"].code, found["docker engine"].exit_code) == ("ENGINE_UNREACHABLE", 69)
    assert found["docker docker program"].value == "2.29.1"
    told = found["docker engine"].as_dict()
    assert told["blocking"] is True
    assert told["fix"]


def test_a_hanging_engine_is_told_within_its_limit(
    selection: Selection, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many questions hang, they share one deadline, and the decision does not wait for the only engine."""
    monkeypatch.setattr(docker, "LIMIT_S", 0.5)
    monkeypatch.setattr(choosing, "LIMIT_S", 0.5)
    _needs_containers(selection)
    engine.program("bin/docker", HANGING)
    engine.delay_s = 60
    began = time.monotonic()
    found = _examined(selection)
    assert time.monotonic() - began < 5
    assert found["engine chosen"].code == "ENGINE_TIMEOUT"
    assert found["docker engine"].problem


@pytest.mark.parametrize(
    ("old", "new", "name"), [("26.1.5", "20.10.24", "docker engine"), ("2.29.1", "2.17.3", "docker compose plugin")]
)
def test_versions_that_are_too_old_are_76(
    selection: Selection, engine: FakeDocker, old: str, new: str, name: str
) -> None:
    """The oldest that works is named."""
    engine.program("bin/docker", GOOD.replace(old, new))
    found = _with_compose(selection)[name]
    assert (found.code, found.exit_code, found.value) == ("ENGINE_TOO_OLD", 76, new)


def test_images_are_told_as_up_would_get_them(selection: Selection) -> None:
    """From the mirror, again at each start, or not at all, which is in the way."""
    (selection.start / "envctl.yaml").write_text("""
registry_mirror: mirror.example
pull: always
services: {postgres: {}, redis: {}, local: {image: "local:1", pull: never}}
""")
    found = _with_compose(selection)
    assert found["docker registry mirror"].value == "mirror.example"
    assert "mirror.example/library/postgres:18" in found["docker image of postgres"].value
    assert "again" in found["docker image of redis"].value
    assert (found["docker image of local"].code, found["docker image of local"].exit_code) == ("IMAGE_ABSENT", 83)


# -- the rest ------------------------------------------------------------------------------------------------------


def test_a_broken_configuration_does_not_hide_the_engine(selection: Selection) -> None:
    """Each topic is examined whatever the others say."""
    (selection.start / "envctl.yaml").write_text("servces: {}\n")
    found = _examined(selection)
    assert found["configuration problem"].code == "CONFIG_INVALID"
    assert "servces" in found["configuration problem"].problem
    assert found["docker engine"].value == "26.1.5"


def test_an_open_state_directory_is_77(selection: Selection) -> None:
    """It would hold passwords."""
    state = selection.start.parent / "state"
    state.mkdir()
    state.chmod(0o755)
    assert _examined(selection)["state problem"].exit_code == 77


def test_a_proxy_without_an_exception_for_loopback_is_a_warning(selection: Selection) -> None:
    """It stops no `up`, but the user's HTTP clients."""
    environ = {**selection.environ, "http_proxy": "http://user:secret@proxy:3128"}
    found = _examined(Selection(start=selection.start, environ=environ))
    assert found["network NO_PROXY"].problem
    assert found["network NO_PROXY"].exit_code == 0
    environ["NO_PROXY"] = "localhost, 127.0.0.1"
    assert not _examined(Selection(start=selection.start, environ=environ))["network NO_PROXY"].problem
