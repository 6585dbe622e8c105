"""An engine that is not there, not allowed, too old, silent, or that breaks in the middle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import prepared_images
import psycopg
import pytest
from faults import engine_proxy, real_docker, silent_engine, slack_s
from harness import Project

REDIS = "engine: compose\nservices:\n  redis: {}\n"  # `auto` would choose another where this one is broken
_QUICK_S = 3.0


@pytest.fixture
def redis(project: Project) -> Project:
    """A project with one small service."""
    project.config(REDIS)
    return project


# -- not there -----------------------------------------------------------------------------------------------------


@pytest.mark.provokes("ENGINE_NOT_INSTALLED")
@pytest.mark.parametrize("command", ["up", "doctor"])
def test_docker_not_installed(redis: Project, command: str) -> None:
    """Without a docker program `up` ends with its own code, `doctor` tells it, and nothing is created."""
    folder = redis.folder / "bin"
    folder.mkdir()
    git = shutil.which("git")
    assert git
    (folder / "git").symlink_to(git)
    if command == "up":
        error = redis.error("up", env={"PATH": str(folder)})
        assert (error["code"], error["exit"]) == ("ENGINE_NOT_INSTALLED", 69)
        assert error["fix"]
    else:
        assert redis.run("doctor", env={"PATH": str(folder)}).code == 69
    redis.assert_nothing_left()


@pytest.mark.provokes("ENGINE_UNREACHABLE")
@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9", "unix://{refusing}"])
def test_engine_does_not_answer(redis: Project, address: str) -> None:
    """A stopped daemon, a missing socket and a DOCKER_HOST to nowhere end `up` within 3 s, naming the address."""
    refusing = redis.folder / "refusing.sock"
    with socket.socket(socket.AF_UNIX) as bound:  # bound, not listening: as a daemon that was killed leaves it
        bound.bind(str(refusing))
        address = address.format(refusing=refusing)
        result = redis.run("up", "--format", "json", env={"DOCKER_HOST": address})
    error = result.error
    assert (result.code, error["code"]) == (69, "ENGINE_UNREACHABLE")
    assert result.seconds < _QUICK_S + slack_s(redis)
    told = f"{error['message']} {error['cause']} {error['subject']}"
    assert address.removeprefix("unix://").removeprefix("tcp://") in told, told
    assert any("DOCKER_HOST" in line for line in error["fix"])
    redis.assert_nothing_left()


def test_broken_context(redis: Project) -> None:
    """A docker context that does not exist is an engine that cannot be reached, and the context is named."""
    error = redis.error("up", env={"DOCKER_CONTEXT": "no-such-context", "DOCKER_HOST": ""})
    assert error["exit"] == 69
    assert "no-such-context" in f"{error['message']} {error['cause']}"
    redis.assert_nothing_left()


def test_down_without_engine_keeps_the_environment(redis: Project) -> None:
    """With the engine away `down` fails and forgets nothing: when the engine is back, it removes everything."""
    with engine_proxy(redis) as proxy:
        redis.up(env=proxy.environ)
    error = redis.error("down")  # the proxy is gone, and with it the engine this environment runs on
    assert error["exit"] == 69
    assert redis.run("ls", "--format", "json").json["environments"]
    with engine_proxy(redis):
        redis.run("down", check=True)
    redis.assert_nothing_left()


# -- not allowed ---------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.provokes("ENGINE_DENIED")
def test_socket_without_permission(redis: Project) -> None:
    """A socket this user may not open is a matter of permission, not of an engine that is stopped."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a socket of somebody else's")
    with silent_engine(redis) as path:
        path.chmod(0o600)
        os.chown(path, 65534, 65534)
        # Root without its powers is a user like any other, and can still read the interpreter of this test.
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "envctl"]
        ended = subprocess.run(
            [*powerless, "up", "--format", "json"],
            cwd=redis.root,
            env={**redis.environ, "DOCKER_HOST": f"unix://{path}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 77, ended.stderr
    assert '"ENGINE_DENIED"' in ended.stderr
    redis.assert_nothing_left()


# -- silent --------------------------------------------------------------------------------------------------------


@pytest.mark.provokes("ENGINE_TIMEOUT")
def test_silent_engine_ends_up(redis: Project) -> None:
    """An engine that accepts connections and never answers ends the first `up` after its limit of 10 s."""
    with silent_engine(redis) as path:
        result = redis.run("up", "--format", "json", env={"DOCKER_HOST": f"unix://{path}"})
    assert (result.code, result.error["code"]) == (69, "ENGINE_TIMEOUT")
    assert result.seconds < 10 + slack_s(redis)
    redis.assert_nothing_left()


def test_silent_engine_does_not_hold_doctor(redis: Project) -> None:
    """`doctor` waits 3 s for an engine that hangs, however many questions it has."""
    with silent_engine(redis) as path:
        result = redis.run("doctor", env={"DOCKER_HOST": f"unix://{path}"})
    assert result.code == 69
    assert result.seconds < 3 + slack_s(redis)
    assert str(path) in result.out


# -- Compose -------------------------------------------------------------------------------------------------------


def _pretend(project: Project, script: str) -> dict[str, str]:
    """A stand-in for `docker` that answers some calls itself, because another version of Compose cannot be had here."""
    folder = project.folder / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\n{script}\nexec {real_docker()} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_compose_plugin_missing(redis: Project) -> None:
    """Without the Compose plugin `up` says that it is not installed, and rolls back."""
    if not _plugins_can_be_hidden():
        pytest.skip("needs root and private mounts, to hide the real plugin")
    without_plugins = ["unshare", "--mount", "sh", "-c", f'{_HIDE_PLUGINS}; exec "$@"', "sh"]
    ended = subprocess.run(
        [*without_plugins, sys.executable, "-m", "envctl", "up", "--format", "json"],
        cwd=redis.root,
        env={**redis.environ, "DOCKER_CONFIG": str(redis.folder / "no-docker-config")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 69, ended.stderr
    assert '"ENGINE_NOT_INSTALLED"' in ended.stderr
    redis.assert_nothing_left()


_PLUGIN_FOLDERS = [
    f"{prefix}/docker/cli-plugins" for prefix in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
]
_HIDE_PLUGINS = " && ".join(f"if [ -d {folder} ]; then mount -t tmpfs none {folder}; fi" for folder in _PLUGIN_FOLDERS)


def _plugins_can_be_hidden() -> bool:
    command = ["unshare", "--mount", "sh", "-c", _HIDE_PLUGINS]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.provokes("ENGINE_TOO_OLD")
def test_compose_too_old(redis: Project) -> None:
    """A Compose before 2.23.1 does not know inline configs; its complaint becomes "too old", with what is needed.

    A stand-in answers with the words of Compose 2.20.3.
    """
    words = "validating compose.yaml: configs.redis_healthcheck Additional property content is not allowed"
    environ = _pretend(redis, f"case \"$*\" in *--project-name*) echo '{words}' >&2; exit 15 ;; esac")
    error = redis.error("up", env=environ)
    assert (error["code"], error["exit"]) == ("ENGINE_TOO_OLD", 76)
    assert any("2.23.1" in line for line in error["fix"])
    redis.assert_nothing_left()


def test_engine_too_old(redis: Project) -> None:
    """An engine before 23 is refused before anything is written down. A stand-in answers as Docker 20.10 does."""
    environ = _pretend(redis, 'case "$*" in *Server.Version*) echo 20.10.24; exit 0 ;; esac')
    error = redis.error("up", env=environ)
    assert (error["code"], error["exit"]) == ("ENGINE_TOO_OLD", 76)
    assert "20.10.24" in error["message"]
    redis.assert_nothing_left()


# -- breaking in the middle ----------------------------------------------------------------------------------------

BROKEN_UP = [
    ("GET /containers/json", "refuse"),
    ("GET /networks", "drop"),
    ("POST /networks/create", "refuse"),
    ("POST /networks/create", "lost"),
    ("POST /volumes/create", "lost"),
    ("POST /containers/create", "drop"),
    ("POST /containers/create", "lost"),
    ("PUT /containers/.*/archive", "refuse"),
    ("POST /containers/.*/start", "refuse"),
    ("POST /containers/.*/start", "lost"),
]
BROKEN_DOWN = [
    ("DELETE /containers", "refuse"),
    ("DELETE /containers", "lost"),
    ("DELETE /networks", "refuse"),
    ("DELETE /networks", "lost"),
    ("DELETE /volumes", "refuse"),
    ("DELETE /volumes", "lost"),
]


@pytest.mark.parametrize(("pattern", "how"), BROKEN_UP)
def test_call_breaks_during_up(redis: Project, pattern: str, how: str) -> None:
    """When one request fails, or its answer is lost, `up` succeeds or rolls back, and one `down` ends it."""
    with engine_proxy(redis) as proxy:
        proxy.break_call(pattern, how)
        result = redis.run("up", "--format", "json", env=proxy.environ)
        assert proxy.broken, f"nothing matched {pattern} among {proxy.seen}"
        if result.code == 0:
            assert len(redis.containers()) == 1
        else:
            assert result.error["exit"] in (69, 80), str(result)
            assert result.error["state"]
        redis.run("down", check=True)
    redis.assert_nothing_left()


@pytest.mark.parametrize(("pattern", "how"), BROKEN_DOWN)
def test_call_breaks_during_down(redis: Project, pattern: str, how: str) -> None:
    """When a request of `down` fails, `down` says what is left or has removed it after all; the next one ends it."""
    with engine_proxy(redis) as proxy:
        redis.up(env=proxy.environ)
        proxy.break_call(pattern, how)
        result = redis.run("down", "--format", "json")
        assert proxy.broken, f"nothing matched {pattern} among {proxy.seen}"
        if result.code != 0:
            assert result.error["exit"] in (69, 85), str(result)
            redis.run("down", check=True)
    redis.assert_nothing_left()


WORDS = [
    ("POST /networks/create", "all predefined address pools have been fully subnetted", "SUBNETS_EXHAUSTED", 82),
    ("POST /containers/create", "write /var/lib/docker/x: no space left on device", "DISK_FULL", 84),
    ("POST /containers/.*/start", "fork/exec /usr/bin/runc: too many open files", "OS_LIMIT", 71),
    ("POST /volumes/create", "something nobody has ever seen", "ENGINE_FAILED", 69),
]


@pytest.mark.provokes("SUBNETS_EXHAUSTED", "DISK_FULL", "OS_LIMIT", "ENGINE_FAILED")
@pytest.mark.parametrize(("pattern", "words", "code", "exit_code"), WORDS)
def test_words_of_the_engine(redis: Project, pattern: str, words: str, code: str, exit_code: int) -> None:
    """What the engine cannot do for want of subnets, disk or descriptors has a code of its own, and is rolled back.

    The engine's words are put in its mouth: running it dry would harm everybody who uses it.
    """
    assert {entry[2] for entry in WORDS} == {"SUBNETS_EXHAUSTED", "DISK_FULL", "OS_LIMIT", "ENGINE_FAILED"}
    with engine_proxy(redis) as proxy:
        proxy.break_call(pattern, "refuse", words=words)
        error = redis.error("up", env=proxy.environ)
        assert (error["code"], error["exit"]) == (code, exit_code)
        assert words in error["cause"]
    redis.assert_nothing_left()


@pytest.mark.provokes("PORTS_EXHAUSTED")
def test_every_port_is_taken(redis: Project) -> None:
    """An engine that says of every port that it is taken is asked five times, each time for another port."""
    taken = "driver failed programming external connectivity: Bind failed: port is already allocated"
    with engine_proxy(redis) as proxy:
        proxy.break_call("POST /containers/.*/start", "refuse", time=0, words=taken)
        error = redis.error("up", env=proxy.environ)
        assert (error["code"], error["exit"]) == ("PORTS_EXHAUSTED", 81)
        assert len(proxy.broken) == 5
    redis.assert_nothing_left()


@pytest.mark.provokes("UNSUPPORTED")
def test_engine_that_this_version_has_not(redis: Project) -> None:
    """An engine of a later version is refused before anything is made."""
    error = redis.error("up", "--engine", "swarm")
    assert (error["code"], error["exit"]) == ("UNSUPPORTED", 78)
    redis.assert_nothing_left()


@pytest.mark.provokes("LEFTOVERS")
def test_leftovers_are_listed(redis: Project) -> None:
    """What cannot be removed is listed with the reason, and the environment is not forgotten."""
    redis.up()
    network = next(thing.name for thing in redis.labelled() if thing.noun == "network")
    redis.docker("run", "-d", "--label", redis.own_label, "--network", network, "busybox", "sleep", "600")
    error = redis.error("down")
    assert (error["code"], error["exit"]) == ("LEFTOVERS", 85)
    assert any(network in line for line in error["leftovers"])
    redis.docker("rm", "-f", *redis.docker("ps", "-aq", "--filter", f"label={redis.own_label}").split())
    redis.run("down", check=True)
    redis.assert_nothing_left()


def test_hanging_creation_ends_with_the_deadline(redis: Project) -> None:
    """An engine that hangs while a container is created costs no more than the time for becoming ready."""
    with engine_proxy(redis) as proxy:
        proxy.break_call("POST /containers/create", "hang")
        result = redis.run("up", "--timeout", "3s", "--format", "json", env=proxy.environ)
        assert proxy.broken
        assert result.error["exit"] in (69, 80), str(result)
        assert result.seconds < 3 + slack_s(redis)
        redis.run("down", check=True)
    redis.assert_nothing_left()


def test_a_reset_needs_no_engine(project: Project) -> None:
    """Also one by template, after which others are waited for: an engine that is away has no part in it."""
    project.environ["ENVCTL_CACHE_DIR"] = str(project.folder / "cache")
    project.config("{engine: compose, services: {postgres: {seed: rows.sql}}}\n")
    project.write("rows.sql", "CREATE TABLE rows AS SELECT 1 AS n;")
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        url = project.up()["variables"]["DATABASE_URL"]
    with psycopg.connect(url) as database:
        database.execute("DELETE FROM rows")
    project.run("reset", "--strategy", "template", check=True)
    with psycopg.connect(url) as database:
        assert database.execute("SELECT n FROM rows").fetchall() == [(1,)]
    with engine_proxy(project):
        project.run("down", check=True)
        project.assert_nothing_left()
        prepared_images.remove(prepared_images.of_session(project.folder))


def test_engine_lost_during_up_is_cleaned_up_later(redis: Project) -> None:
    """When the engine stays away after a failure, the rollback is left for later, said so, and done by `down`."""
    with engine_proxy(redis) as proxy:
        proxy.break_call("POST /containers/.*/start|DELETE /", "refuse", time=0)
        result = redis.run("up", "--format", "json", env=proxy.environ)
        assert result.error["exit"] == 69, str(result)
        assert result.error["leftovers"] or redis.labelled() == []
        proxy.forget()
        redis.run("down", check=True)
    redis.assert_nothing_left()


def test_checkout_does_not_choose_the_program(redis: Project) -> None:
    """A `docker` in the checkout is not run, not even with the current folder on PATH."""
    program = redis.write("docker", "#!/bin/sh\ntouch ran\nexit 1\n", mode=0o755)
    redis.up(env={"PATH": f".:{os.environ['PATH']}"})
    assert not Path(program.parent / "ran").exists()
    redis.run("down", check=True)
