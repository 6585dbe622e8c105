"""What every kind keeps to. A new kind is found by its folder; these tests say which of its parts is missing."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from envctl import kinds
from envctl.model import Attempt, Connection, EnvironmentSpec, ServiceSpec, Verdict
from envctl.ready.handshake import Handshake

ROOT = Path(__file__).parents[2]
SECRET = "s3cret/with@odd:characters?&"
EVERY_KIND = pytest.mark.parametrize("name", kinds.names())
EVERY_HANDSHAKE = pytest.mark.parametrize("name", [name for name in kinds.names() if name != kinds.GENERIC])


def document(name: str) -> dict[str, Any]:
    path = ROOT / "compose" / name / "compose.yaml"
    assert path.is_file(), f"{name} has no compose/{name}/compose.yaml"
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    return parsed


def check_file(name: str) -> Path:
    found = sorted((ROOT / "healthchecks").glob(f"{name}.*"))
    assert len(found) == 1, f"{name} needs exactly one healthchecks/{name}.*, found {[path.name for path in found]}"
    return found[0]


def spec(name: str) -> ServiceSpec:
    kind = kinds.get(name)
    return ServiceSpec(
        "svc", name, ports=kind.ports, options={key: option.default for key, option in kind.options.items()}
    )


def connection(name: str, port: int = 20431) -> Connection:
    kind, service = kinds.get(name), spec(name)
    ports = {each.name: port + i for i, each in enumerate(service.ports)}
    return kind.connection(service, "127.0.0.1", ports, dict.fromkeys(kind.secrets, SECRET))


def closed_port() -> int:
    with socket.socket() as guard:
        guard.bind(("127.0.0.1", 0))
        return int(guard.getsockname()[1])


# -- the Compose fragment ------------------------------------------------------------------------------------------


@EVERY_KIND
def test_fragment_is_one_service_named_after_the_kind(name: str) -> None:
    """A fragment is understood by itself."""
    assert list(document(name)["services"]) == [name]


@EVERY_KIND
def test_fragment_leaves_to_envctl_what_is_envctls(name: str) -> None:
    """Ports, names, networks and volumes differ between environments, so a fragment fixes none of them."""
    parsed = document(name)
    (service,) = parsed["services"].values()

    assert not {"ports", "container_name", "networks", "network_mode", "volumes", "privileged"} & set(service)
    assert not {"name", "networks", "volumes"} & set(parsed)


@EVERY_KIND
def test_fragment_holds_no_secret(name: str) -> None:
    """A secret comes from the environment and goes in as a file."""
    kind, parsed = kinds.get(name), document(name)
    expected = {f"{name}_{secret}": {"environment": f"ENVCTL_{name}_{secret}".upper()} for secret in kind.secrets}

    assert parsed.get("secrets", {}) == expected


@EVERY_KIND
def test_fragment_runs_what_the_kind_runs(name: str) -> None:
    """Fragment and kind name the same image; a bundled kind has something to build instead."""
    kind = kinds.get(name)
    (service,) = document(name)["services"].values()

    assert service.get("image") == kind.image or name == kinds.GENERIC
    assert ("build" in service) is kind.bundled
    assert (ROOT / "compose" / name / "Dockerfile").is_file() is kind.bundled


@EVERY_HANDSHAKE
def test_fragment_runs_the_kinds_check(name: str) -> None:
    """The check is the one of healthchecks/, started by its interpreter, with an interval for the start that counts."""
    parsed, check = document(name), check_file(name)
    (service,) = parsed["services"].values()
    (config,) = service["configs"]
    health = service["healthcheck"]

    assert (ROOT / "compose" / name / parsed["configs"][config["source"]]["file"]).resolve() == check
    assert config["target"] == f"/envctl/{check.name}"
    assert health["test"] == ["CMD", {".sh": "sh", ".py": "python3"}[check.suffix], config["target"]]
    assert {"interval", "timeout", "retries", "start_period", "start_interval"} <= set(health)


@EVERY_KIND
def test_container_settings_only_use_known_secrets(name: str) -> None:
    """What the kind says over its fragment refers to secret files its service is given, and to nothing else."""
    service = spec(name)
    kind, environment = kinds.get(name), EnvironmentSpec({"svc": service})
    files = {f"/run/secrets/{owner}_{secret}" for owner, secret in kind.secret_readers(service, environment)}
    settings = kind.container(service, environment).get("environment", {})
    assert isinstance(settings, dict)

    assert {value for key, value in settings.items() if key.endswith("_FILE")} <= files


def test_generic_hardens_every_container() -> None:
    """What every service starts from: no new privileges, an init process, bounded processes and logs, no restart."""
    (base,) = document(kinds.GENERIC)["services"].values()

    assert base["security_opt"] == ["no-new-privileges:true"]
    assert base["init"] is True
    assert base["restart"] == "no"
    assert base["pids_limit"] > 0
    assert {"max-size", "max-file"} <= set(base["logging"]["options"])


# -- the check -----------------------------------------------------------------------------------------------------


def run_check(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    check = check_file(name)
    interpreter = {".sh": "sh", ".py": "python3"}[check.suffix]
    environ = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([interpreter, str(check)], env=environ, capture_output=True, text=True, timeout=10)


@EVERY_HANDSHAKE
def test_check_says_not_yet_in_one_line(name: str) -> None:
    """Where nothing listens (or the client is missing) a check exits with 1, at once, after one line on stdout."""
    port = str(closed_port())
    variables = {"PGPORT": port, "REDIS_PORT": port, "PORT": port}
    began = time.monotonic()
    done = run_check(name, **variables)

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("not yet: ")
    assert done.stderr == ""
    assert time.monotonic() - began < 2


@EVERY_HANDSHAKE
def test_check_without_its_secret_file(name: str) -> None:
    """A missing secret file is told; it is never a crash with another exit code."""
    nowhere = "/nonexistent/secret"
    done = run_check(name, POSTGRES_PASSWORD_FILE=nowhere, REDIS_PASSWORD_FILE=nowhere, PORT="not a number")

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1


def test_generic_has_no_check() -> None:
    """An unknown image has no program envctl could rely on."""
    assert list((ROOT / "healthchecks").glob(f"{kinds.GENERIC}.*")) == []


# -- the connection ------------------------------------------------------------------------------------------------


@EVERY_HANDSHAKE
def test_connection_url_parses(name: str) -> None:
    """The URL can be taken apart again, whatever characters the secret has."""
    made = connection(name)
    url = urlsplit(made.url)

    assert (url.hostname, url.port) == ("127.0.0.1", 20431)
    assert SECRET in {unquote(url.password or ""), *parse_qs(url.query).get("token", [])}


@EVERY_KIND
def test_secrets_are_masked(name: str) -> None:
    """Neither a connection nor anything in it shows a secret when it is printed."""
    shown = repr(connection(name))

    assert "s3cret" not in shown


# -- the probe -----------------------------------------------------------------------------------------------------


@EVERY_HANDSHAKE
def test_probe_has_the_agreed_signature(name: str) -> None:
    """Every kind's probe is called in the same way."""
    function = kinds.probe(name)
    assert function, f"{name} has no envctl/kinds/{name}/probe.py with `attempt`"

    assert list(inspect.signature(function).parameters) == ["connection", "limit_s"]


@EVERY_HANDSHAKE
def test_probe_of_a_closed_port(name: str) -> None:
    """Nobody there is an answer, and a quick one."""
    function = kinds.probe(name)
    assert function
    began = time.monotonic()
    answer = function(connection(name, closed_port()), 1.0)

    assert answer == Attempt(Verdict.NOT_YET, "connection refused")
    assert time.monotonic() - began < 0.2


@EVERY_HANDSHAKE
def test_probe_does_not_repeat_the_secret(name: str) -> None:
    """A server that sends back what it was told gets no secret into an answer."""
    function = kinds.probe(name)
    assert function
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = connection(name, server.getsockname()[1])

        def echo() -> None:
            link, _ = server.accept()
            with link:
                heard = link.recv(65536)
                link.sendall(b"-ERR " + heard.replace(b"\r\n", b" ") + b"\r\n")

        thread = threading.Thread(target=echo)
        thread.start()
        answer = Handshake(made, function).attempt(0.3)
        thread.join(5)

    assert "s3cret" not in answer.detail


def test_generic_has_no_handshake() -> None:
    """What an unknown image speaks is for the user to say."""
    assert kinds.probe(kinds.GENERIC) is None
