"""Which engine `auto` chooses. Docker is a stand-in where no real engine can be brought to behave so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_proxy import EngineProxy
from fake_docker import ABSENT, DENIED, PRESENT, FakeDocker

from envctl.engines import choosing
from envctl.engines.choosing import choose
from envctl.engines.docker import cli, plugin
from envctl.errors import EngineNotInstalled, EngineTimeout, EngineTooOld, EngineUnreachable, EnvctlError
from envctl.host.config import default_spec, load
from envctl.model import EnvironmentSpec

SPEC = default_spec()
POSTGRES = "postgres:18"


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """An engine with which nothing is wrong."""
    with FakeDocker() as fake:
        monkeypatch.setenv("PATH", fake.environ["PATH"])
        for cached in (cli.program, cli.environment):
            cached.cache_clear()
        yield fake
    for cached in (cli.program, cli.environment):
        cached.cache_clear()


@pytest.fixture
def container_only(tmp_path: Path) -> EnvironmentSpec:
    """A configuration that needs containers."""
    (tmp_path / "envctl.yaml").write_text("services:\n  mailer: {image: axllent/mailpit, port: 1025}\n")
    return load(None, tmp_path, {})


# -- Compose -------------------------------------------------------------------------------------------------------


def test_a_good_engine_with_all_images_is_chosen(docker: FakeDocker) -> None:
    """Compose, with the version found, and without a question to the registry."""
    choice = choose(docker.environ, SPEC)
    assert (choice.name, choice.version) == ("compose", "26.1.5")
    assert choice.reason == "compose: Docker Engine 26.1.5 answers"
    assert choice.address == f"unix://{docker.socket}"
    assert not [path for path in docker.asked if path.startswith("/distribution")]


def test_an_image_that_can_be_had_is_as_good_as_there(docker: FakeDocker) -> None:
    """The registry is asked for what is absent, and for nothing else."""
    docker.images[POSTGRES] = ABSENT
    docker.registry[POSTGRES] = PRESENT
    assert choose(docker.environ, SPEC).name == "compose"
    assert [path for path in docker.asked if path.startswith("/distribution")] == [f"/distribution/{POSTGRES}/json"]


def test_a_built_image_needs_no_base(docker: FakeDocker) -> None:
    """The bundled server's image is there, so it matters not that the image it was built from is gone."""
    docker.images["python:3.13-slim"] = ABSENT
    assert choose(docker.environ, SPEC).name == "compose"


def test_only_containers_can_serve_it(docker: FakeDocker, container_only: EnvironmentSpec) -> None:
    """An image that cannot be had is the pull's to tell, where there is no other way."""
    docker.images["axllent/mailpit"] = ABSENT
    assert choose(docker.environ, container_only).name == "compose"


def test_a_login_makes_a_refusal_meaningless(docker: FakeDocker) -> None:
    """The question goes without the user's login, so being refused means nothing where there is one."""
    docker.images[POSTGRES] = ABSENT
    docker.registry[POSTGRES] = DENIED
    assert choose(docker.environ, SPEC).name == "embedded"
    (docker.folder / "config" / "config.json").write_text(json.dumps({"credsStore": "desktop"}))
    assert choose(docker.environ, SPEC).name == "compose"


# -- embedded ------------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_had(docker: FakeDocker) -> None:
    """The embedded engine needs none; the image and what the registry said are named."""
    docker.images[POSTGRES] = ABSENT
    choice = choose(docker.environ, SPEC)
    assert choice.name == "embedded"
    assert choice.reason == f"embedded: image {POSTGRES} is neither present nor obtainable (registry unreachable)"
    assert set(choice.programs) == {"postgres", "redis", "websocket"}


def _redis(folder: Path, *, settings: str) -> EnvironmentSpec:
    (folder / "envctl.yaml").write_text(f"{settings}\nservices: {{redis: {{}}}}\n")
    return load(None, folder, {})


def test_the_mirror_is_asked_in_the_place_of_docker_hub(docker: FakeDocker, tmp_path: Path) -> None:
    """What the mirror has is obtainable, whether Docker Hub answers or not; what it has not is not."""
    docker.images["redis:8"] = ABSENT
    spec = _redis(tmp_path, settings="registry_mirror: mirror.example:5000/hub")
    docker.registry["mirror.example:5000/hub/library/redis:8"] = PRESENT
    assert choose(docker.environ, spec).name == "compose"
    docker.registry = {"redis:8": PRESENT}
    choice = choose(docker.environ, spec)
    assert choice.name == "embedded"
    assert "obtainable from mirror.example:5000/hub/library/redis:8 (registry unreachable)" in choice.reason


def test_an_image_that_may_not_be_pulled_is_not_asked_for(docker: FakeDocker, tmp_path: Path) -> None:
    """With `pull: never` what is absent cannot be had, and no registry learns of it."""
    docker.images["redis:8"] = ABSENT
    choice = choose(docker.environ, _redis(tmp_path, settings="pull: never"))
    assert choice.reason == "embedded: image redis:8 is not present, and pull: never forbids fetching it"
    assert not [path for path in docker.asked if path.startswith("/distribution")]


def test_an_image_that_must_be_renewed_has_to_be_obtainable(docker: FakeDocker, tmp_path: Path) -> None:
    """With `pull: always` being present is not enough: the start would fail where the registry is away."""
    spec = _redis(tmp_path, settings="pull: always")
    assert choose(docker.environ, spec).reason == "embedded: image redis:8 is not obtainable (registry unreachable)"
    docker.registry["redis:8"] = PRESENT
    assert choose(docker.environ, spec).name == "compose"


def test_a_build_whose_base_cannot_be_had(docker: FakeDocker) -> None:
    """What must be built first needs its base image."""
    from envctl.host import assets

    docker.images[f"envctl-websocket:{assets.folder_digest('websocket')[:12]}"] = ABSENT
    assert choose(docker.environ, SPEC).name == "compose"
    docker.images["python:3.13-slim"] = ABSENT
    choice = choose(docker.environ, SPEC)
    assert choice.name == "embedded"
    assert "python:3.13-slim" in choice.reason


def test_no_docker_program(docker: FakeDocker) -> None:
    """Nothing but PATH is looked at."""
    choice = choose({**docker.environ, "PATH": "/nowhere"}, SPEC)
    assert choice.name == "embedded"
    assert choice.reason == "embedded: the docker program is not installed, or not on PATH"
    assert docker.asked == []


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "unix://{refusing}"])
def test_nobody_listens(docker: FakeDocker, address: str, tmp_path: Path) -> None:
    """A missing socket, and one that a killed daemon left, are told at once and by their address."""
    import socket

    refusing = docker.folder / "refusing.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(refusing))
        address = address.format(refusing=refusing)
        choice = choose({**docker.environ, "DOCKER_HOST": address}, SPEC)
    assert choice.reason == f"embedded: no Docker engine answers at {address}"


def test_a_silent_engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that accepts and says nothing costs the limit, not more."""
    monkeypatch.setattr(choosing, "LIMIT_S", 0.3)
    docker.delay_s = 60
    began = time.monotonic()
    choice = choose(docker.environ, SPEC)
    assert time.monotonic() - began < 2
    assert choice.name == "embedded"
    assert "did not answer within 0.3 s" in choice.reason


def test_an_old_engine(docker: FakeDocker) -> None:
    """Before 23 Compose could not work with it."""
    docker.version = "20.10.24"
    assert choose(docker.environ, SPEC).reason == "embedded: Docker Engine 20.10.24 is too old"


def test_an_old_plugin(docker: FakeDocker) -> None:
    """Before 2.23.1 there were no inline configs."""
    docker.program("config/cli-plugins/docker-compose", "echo v2.20.3")
    assert choose(docker.environ, SPEC).reason == "embedded: Docker Compose v2.20.3 is too old"


def test_no_plugin(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker` itself is asked where the plugin is in none of the usual folders, and says that there is none."""
    monkeypatch.setattr(plugin, "_PREFIXES", ())
    (docker.folder / "config" / "cli-plugins" / "docker-compose").unlink()
    docker.program("bin/docker", "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1")
    assert choose(docker.environ, SPEC).reason == "embedded: Docker's Compose plugin is not installed"
    docker.program("bin/docker", 'case "$*" in *"compose version --short") echo 2.30.0 ;; *) exit 1 ;; esac')
    assert choose(docker.environ, SPEC).name == "compose"


# -- neither -------------------------------------------------------------------------------------------------------


def _refused(environ: dict[str, str], spec: EnvironmentSpec) -> EnvctlError:
    with pytest.raises(EnvctlError) as caught:
        choose(environ, spec)
    return caught.value


def test_neither_works_for_want_of_containers(docker: FakeDocker, container_only: EnvironmentSpec) -> None:
    """The error is Compose's, and also names the service that keeps the embedded engine from doing it."""
    error = _refused({**docker.environ, "PATH": "/nowhere"}, container_only)
    assert isinstance(error, EngineNotInstalled)
    assert 'service "mailer" needs a container (image axllent/mailpit)' in error.fix[-1]
    error = _refused({**docker.environ, "DOCKER_HOST": "unix:///nowhere"}, container_only)
    assert isinstance(error, EngineUnreachable)
    assert error.state == "nothing was created"
    docker.version = "20.10.24"
    assert isinstance(_refused(docker.environ, container_only), EngineTooOld)


def test_neither_works_for_want_of_programs(docker: FakeDocker, tmp_path: Path) -> None:
    """The error is Compose's, and also says how to get the programs."""
    (tmp_path / "envctl.yaml").write_text("engine_options: {postgres_bin: /nowhere}\nservices: {postgres: {}}\n")
    error = _refused({**docker.environ, "PATH": "/nowhere"}, load(None, tmp_path, {}))
    assert isinstance(error, EngineNotInstalled)
    assert error.fix[-1] == "or run without Docker: pip install 'envctl[embedded]'"


def test_a_slow_engine_is_waited_for_where_there_is_no_other_way(
    docker: FakeDocker, container_only: EnvironmentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short limit is for choosing between two; the only engine gets the time that a named engine would get."""
    monkeypatch.setattr(choosing, "LIMIT_S", 0.2)
    docker.delay_s = 0.5
    assert choose(docker.environ, container_only).name == "compose"
    with pytest.raises(EngineTimeout):
        choose(docker.environ, container_only, patient=False)


# -- what it costs -------------------------------------------------------------------------------------------------

_PROGRAM = """
import json, os, sys
from envctl.host.config import default_spec
from envctl.engines.choosing import choose
spec = default_spec()
before = set(sys.modules)
try:
    name = choose(dict(os.environ), spec).name
except Exception as error:
    name = repr(error)
print(json.dumps([name, sorted(set(sys.modules) - before)]))
"""


@pytest.mark.parametrize("lack", [{"PATH": "/nowhere"}, {"DOCKER_HOST": "unix:///nowhere"}])
def test_without_docker_nothing_of_docker_is_imported(docker: FakeDocker, lack: dict[str, str]) -> None:
    """No subprocess and no client library: the decision must be lost in the noise where there is no Docker."""
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**docker.environ, **lack},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    name, modules = json.loads(ended.stdout)
    assert name == "embedded"
    assert not {"docker", "requests", "http.client", "envctl.engines.docker.cli", "envctl.engines.compose"} & {*modules}


# -- real ----------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_real_engine_is_chosen() -> None:
    """It answers, and has the test images."""
    choice = choose(os.environ, SPEC)
    assert choice.name == "compose"
    assert choice.version


@pytest.mark.engine
def test_a_remote_engine_is_asked_through_the_docker_program() -> None:
    """An address without a socket of this machine gives the same answers, and the same refusals."""
    for cached in (cli.program, cli.environment):
        cached.cache_clear()
    with EngineProxy("127.0.0.1") as proxy:
        choice = choose({**os.environ, "DOCKER_HOST": proxy.address}, SPEC)
        assert (choice.name, choice.address) == ("compose", proxy.address)
    choice = choose({**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:9"}, SPEC)
    assert choice.reason == "embedded: no Docker engine answers at tcp://127.0.0.1:9"


@pytest.mark.engine
def test_the_real_engine_says_that_a_registry_is_away(tmp_path: Path) -> None:
    """Nobody listens at the registry of an image, and the real engine's words for it are understood."""
    from envctl.engines.docker import distribution, endpoint

    image = "127.0.0.1:9/nothing:1"
    found = distribution.refusals(endpoint.resolve(os.environ), [image], {"HOME": str(tmp_path)})
    assert found == {image: "registry unreachable"}
