"""Services of any image: ports, files, volumes, references, and the document that plain Compose takes."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from harness import Project
from redis import Redis

WEB = """
services:
  redis: {}
  web:
    image: busybox
    command: [sh, -c, "httpd -f -p 8080 -h /w & exec nc -ll -p 1025 -e echo 220 hello"]
    ports: {http: 8080, smtp: 1025}
    ready: {http: {port: http, path: /index.html}}
    volumes: ["./index.html:/w/index.html", "data:/data"]
    environment: {CACHE: "{redis.url}", LITERAL: "{{redis.url}} $HOME $${x}", WHO: "{env.name}"}
    depends_on: [redis]
    memory: 32m
export:
  SMTP: "{web.smtp}"
  PAGE: "{web.http.url}/index.html"
"""


def test_a_generic_service(project: Project) -> None:
    """Named ports, a file of the project, references inside and outside, a volume and a limit all work together."""
    project.write("index.html", "it's $HOME and ${x} and {redis.url}\n")
    project.config(WEB)
    report = project.up()
    variables = report["variables"]
    with urllib.request.urlopen(variables["PAGE"], timeout=10) as page:  # noqa: S310 - http on loopback
        assert page.read() == b"it's $HOME and ${x} and {redis.url}\n"
    assert variables["SMTP"] == f"127.0.0.1:{variables['WEB_SMTP_PORT']}"
    inside = dict(
        line.split("=", 1)
        for line in project.run("exec", "web", "--", "env", check=True).out.splitlines()
        if "=" in line
    )
    password = variables["REDIS_PASSWORD"]
    assert inside["CACHE"] == f"redis://:{password}@redis:6379/0"
    assert inside["LITERAL"] == "{redis.url} $HOME ${x}"
    assert inside["WHO"] == report["environment"]
    talk = f"printf 'AUTH {password}\\r\\nPING\\r\\n' | nc -w 2 redis 6379"
    assert "+PONG" in project.run("exec", "web", "--", "sh", "-c", talk, check=True).out
    assert project.inspect("web")["HostConfig"]["Memory"] == 32 * 1024**2


def test_a_changed_file_replaces_the_service(project: Project) -> None:
    """A changed file of the project replaces the service that mounts it, and no other; its named volume stays."""
    project.write("index.html", "one\n")
    project.config(WEB)
    project.up()
    project.run("exec", "web", "--", "touch", "/data/kept", check=True)
    before = project.containers()
    project.write("index.html", "two\n")
    project.up()
    after = project.containers()
    assert after["web"] != before["web"]
    assert after["redis"] == before["redis"]
    assert project.run("exec", "web", "--", "cat", "/w/index.html", check=True).out == "two\n"
    assert project.run("exec", "web", "--", "ls", "/data", check=True).out == "kept\n"


def _compose(project: Project, file: Path, *arguments: str) -> None:
    command = ["docker", "compose", "--file", str(file), *arguments]
    subprocess.run(command, env=project.environ, cwd=project.folder, check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("running", [False, True], ids=["before up", "after up"])
def test_the_document_works_with_plain_compose(project: Project, running: bool) -> None:
    """`envctl render --secrets` is a file that plain `docker compose` brings up and takes down by hand."""
    project.write("index.html", "hello\n")
    project.config(WEB)
    password = None
    if running:
        password = project.up()["variables"]["REDIS_PASSWORD"]
    file = project.folder / "compose.yaml"
    file.write_text(project.run("render", "--secrets", check=True).out)
    if running:
        project.run("down", check=True)
    document = yaml.safe_load(file.read_text())
    try:
        _compose(project, file, "up", "--detach", "--wait", "--quiet-pull")
        port = project.docker("port", f"{document['name']}-redis-1", "6379").rsplit(":", 1)[1]
        secret = project.docker("exec", f"{document['name']}-redis-1", "cat", "/run/secrets/redis_password").strip()
        assert password in (None, secret)
        with Redis(port=int(port), password=secret) as redis:
            assert redis.ping()
    finally:
        _compose(project, file, "down", "--volumes", "--timeout", "0")
    project.assert_nothing_left()


def test_the_document_without_secrets(project: Project) -> None:
    """`envctl render` alone holds no secret; with the variables it names, plain Compose brings it up."""
    project.config("services: {redis: {}}")
    file = project.folder / "compose.yaml"
    file.write_text(project.run("render", check=True).out)
    names = [line.split()[1] for line in file.read_text().splitlines() if line.startswith("#   ")]
    assert names
    project.environ.update(dict.fromkeys(names, "by-hand"))
    document = yaml.safe_load(file.read_text())
    try:
        _compose(project, file, "up", "--detach", "--wait")
        port = project.docker("port", f"{document['name']}-redis-1", "6379").rsplit(":", 1)[1]
        with Redis(port=int(port), password="by-hand") as redis:
            assert redis.ping()
    finally:
        _compose(project, file, "down", "--volumes", "--timeout", "0")


@pytest.mark.provokes("CONFIG_INVALID")
def test_bad_configuration_creates_nothing(project: Project) -> None:
    """Every mistake of a file is told at once with its place, and nothing is created."""
    project.config("services:\n  redis: {imge: x}\n  web: {image: busybox, ports: {a: 99999}}\n")
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("CONFIG_INVALID", 65)
    text = "\n".join([error["message"], error["cause"] or "", *error["evidence"]])
    assert "envctl.yaml:2:" in text
    assert "envctl.yaml:3:" in text
    project.assert_nothing_left()


@pytest.mark.parametrize(
    "volume", ["/:/host", "/var/run/docker.sock:/docker.sock", "../outside:/x", "./link:/x"], ids=str
)
def test_nothing_of_the_host_is_mounted(project: Project, volume: str) -> None:
    """The host's root, the engine's socket and files outside the project are refused before anything is created."""
    outside = project.folder / "outside"
    outside.write_text("secret")
    (project.root / "link").symlink_to(outside)
    project.allow_files("link")
    project.config(f"services: {{web: {{image: busybox, volumes: ['{volume}']}}}}")
    assert project.run("up").code in {65, 78}
    project.assert_nothing_left()
