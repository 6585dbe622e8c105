"""What a configuration file means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from envctl.errors import ConfigNotFound
from envctl.host.config import default_spec, find, load
from envctl.model import (
    EnvironmentSpec,
    ExecReady,
    HttpReady,
    LogReady,
    PortSpec,
    Ready,
    ServiceSpec,
    TcpReady,
    VolumeSpec,
)


def spec(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> EnvironmentSpec:
    """The specification `text` gives as the file of a project at `tmp_path`."""
    (tmp_path / "envctl.yaml").write_text(text)
    return load(None, tmp_path, environ or {})


def service(tmp_path: Path, settings: str) -> ServiceSpec:
    """One service `x` with `settings`, a flow mapping."""
    return spec(tmp_path, f"services: {{x: {settings}}}").services["x"]


def test_without_a_file_there_are_three_services(tmp_path: Path) -> None:
    """Zero configuration gives Postgres, Redis and the bundled WebSocket server, with their kinds' defaults."""
    found = load(None, tmp_path, {})
    assert found == default_spec()
    assert found.source is None
    assert {s.name: (s.kind, s.image) for s in found.services.values()} == {
        "postgres": ("postgres", "postgres:18"), "redis": ("redis", "redis:8"), "websocket": ("websocket", None),
    }  # fmt: skip
    assert found.services["postgres"].options == {"database": "app", "user": "app"}
    assert found.services["websocket"].ports == (PortSpec("websocket", 3001),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "name: shop"])
def test_a_file_without_services_gives_the_same_three(tmp_path: Path, text: str) -> None:
    """`services` left out means the default, whatever else the file says."""
    assert spec(tmp_path, text).services == default_spec().services
    assert spec(tmp_path, text).source == str(tmp_path / "envctl.yaml")


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    """Every key of the documented example arrives where it belongs."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "Dockerfile").write_text("FROM scratch\n")
    found = spec(
        tmp_path,
        """
name: shop
engine: auto
ttl: 8h
ready_timeout: 90s
services:
  postgres: {image: "postgres:17", database: shop}
  redis: {}
  websocket: {build: ./server, port: 3002, path: /live, ready: {http: /healthz}}
  mailer:
    image: axllent/mailpit
    ports: {smtp: 1025, http: 8025}
    ready: {http: {port: http, path: /livez}}
export:
  TEST_DATABASE_URL: "{postgres.url}"
""",
    )
    assert (found.project, found.engine, found.ttl_s, found.ready_timeout_s) == ("shop", "auto", 28_800, 90)
    assert list(found.services) == ["postgres", "redis", "websocket", "mailer"]
    assert found.services["postgres"].options == {"database": "shop", "user": "app"}
    websocket = found.services["websocket"]
    assert websocket.build is not None
    assert (websocket.build.context, len(websocket.build.fingerprint)) == (str(tmp_path / "server"), 64)
    assert (websocket.image, websocket.ports, websocket.options) == (
        None, (PortSpec("websocket", 3002),), {"path": "/live"},
    )  # fmt: skip
    mailer = found.services["mailer"]
    assert (mailer.kind, mailer.ports) == ("generic", (PortSpec("smtp", 1025), PortSpec("http", 8025)))
    assert mailer.ready == HttpReady("/livez", "http")
    assert found.export == {"TEST_DATABASE_URL": "{postgres.url}"}


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("db", "{image: 'postgres:16'}", "postgres"),
        ("db", "{image: docker.io/library/postgres}", "postgres"),
        ("cache", "{image: 'valkey/valkey:8'}", "redis"),
        ("db", "{image: 'postgres:16', ports: {db: 5432}}", "generic"),
        ("db", "{image: 'postgres:16', kind: generic}", "generic"),
        ("db", "{image: 'postgis/postgis:17', kind: postgres}", "postgres"),
        ("db", "{image: 'example.org/postgres:16'}", "generic"),
        ("redis", "{image: 'valkey/valkey:8'}", "redis"),
        ("redis", "", "redis"),
    ],
)
def test_the_kind_is_said_named_or_known_by_an_official_image(
    tmp_path: Path, name: str, settings: str, kind: str
) -> None:
    """`kind` first, then the service's name, then an official image without ports and check of its own."""
    assert spec(tmp_path, f"services: {{{name}: {settings or '~'}}}").services[name].kind == kind


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ("{image: a, port: 80}", (PortSpec("main", 80),)),
        ("{image: a, port: '8080:80'}", (PortSpec("main", 80, 8080),)),
        ("{image: a, port: {container: 80, host: 8080}}", (PortSpec("main", 80, 8080),)),
        ("{image: a, ports: {b: 81, c: '82:83'}}", (PortSpec("b", 81), PortSpec("c", 83, 82))),
        ("{kind: redis, ports: {metrics: 9121}}", (PortSpec("redis", 6379), PortSpec("metrics", 9121))),
        ("{kind: redis, port: 7000}", (PortSpec("redis", 7000),)),
        ("{kind: redis, ports: {redis: '7000:6379'}}", (PortSpec("redis", 6379, 7000),)),
        ("{image: a}", ()),
    ],
)
def test_ports_have_names_and_the_main_one_is_first(tmp_path: Path, settings: str, ports: tuple[PortSpec, ...]) -> None:
    """All forms of a port, over the kind's defaults."""
    assert service(tmp_path, settings).ports == ports


@pytest.mark.parametrize(
    ("ready", "check"),
    [
        ("{http: /h}", HttpReady("/h")),
        ("{http: {path: /h, port: main, status: 204}}", HttpReady("/h", "main", 204)),
        ("{tcp: true}", TcpReady()),
        ("{tcp: main}", TcpReady("main")),
        ('{tcp: {port: main, send: "PING\\r\\n", expect: PONG}}', TcpReady("main", "PING\r\n", "PONG")),
        ("{log: 'ready to'}", LogReady("ready to")),
        ("{log: {pattern: x, count: 2}}", LogReady("x", 2)),
        ("{exec: 'test -f \"/a b\"'}", ExecReady(("test", "-f", "/a b"))),
        ("{exec: [sleep, 1]}", ExecReady(("sleep", "1"))),
    ],
)
def test_ready_takes_one_of_four_checks(tmp_path: Path, ready: str, check: Ready) -> None:
    """HTTP, TCP, a log line, or a command, each in its short and long form."""
    assert service(tmp_path, f"{{image: a, port: 80, ready: {ready}}}").ready == check


def test_other_service_settings(tmp_path: Path) -> None:
    """Command, environment, memory and persistence are read as they are written."""
    found = service(
        tmp_path,
        """{image: a, command: "serve --name 'a b'", memory: 512m, persist: true,
        environment: {PORT: 5432, DEBUG: true, RATIO: 1.50, EMPTY: "", "discovery.type": single-node}}""",
    )
    assert found.command == ("serve", "--name", "a b")
    assert (found.memory_bytes, found.persist) == (512 * 1024**2, True)
    assert found.environment == {
        "PORT": "5432", "DEBUG": "true", "RATIO": "1.50", "EMPTY": "", "discovery.type": "single-node",
    }  # fmt: skip
    assert service(tmp_path, "{image: a, environment: [A=b=c, B=]}").environment == {"A": "b=c", "B": ""}


def test_volumes_are_named_or_files_whose_text_travels(tmp_path: Path) -> None:
    """A file's content is read with the configuration, so that it also reaches a remote engine."""
    (tmp_path / "init.sql").write_text("select 'ü';\n")
    found = service(
        tmp_path,
        "{image: a, volumes: ['data:/data', './init.sql:/i.sql:ro', {name: b, target: /b}, "
        "{file: init.sql, target: /j.sql}]}",
    )
    assert found.volumes == (
        VolumeSpec("/data", name="data"),
        VolumeSpec("/i.sql", file="init.sql", content="select 'ü';\n"),
        VolumeSpec("/b", name="b"),
        VolumeSpec("/j.sql", file="init.sql", content="select 'ü';\n"),
    )


def test_variables_are_put_in(tmp_path: Path) -> None:
    """`${NAME}`, `${NAME:-default}` and `$$`, in any value, also where a number is wanted."""
    environ = {"TAG": "17", "PORT": "81", "EMPTY": "", "YES": "true"}
    found = spec(
        tmp_path,
        """services: {x: {image: "a:${TAG}", port: "${PORT}", memory: "${NONE:-64m}", persist: "${YES}",
        command: ["$$HOME", "$HOME", "${EMPTY:-d}", "$${A}", "${EMPTY}"]}}""",
        environ,
    ).services["x"]
    assert (found.image, found.ports, found.persist) == ("a:17", (PortSpec("main", 81),), True)
    assert found.command == ("$HOME", "$HOME", "d", "${A}", "")


def test_values_follow_yaml_1_2(tmp_path: Path) -> None:
    """`on`, `no` and `22:22` are text, as editors have it."""
    found = service(tmp_path, "{image: a, environment: {A: on, B: no, C: 22:22, D: 0o17, E: !!str 5}}")
    assert found.environment == {"A": "on", "B": "no", "C": "22:22", "D": "0o17", "E": "5"}


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    """`x-…` keys hold anchors; a mapping's own keys win over merged ones."""
    found = spec(
        tmp_path,
        "x-base: &base {image: a, memory: 64m}\nservices: {b: *base, c: {<<: *base, memory: 65m}, d: {<<: [*base]}}",
    ).services
    assert [(s.image, s.memory_bytes) for s in found.values()] == [
        ("a", 64 * 1024**2), ("a", 65 * 1024**2), ("a", 64 * 1024**2),
    ]  # fmt: skip


@pytest.mark.parametrize("encoded", [b"\xef\xbb\xbfname: a\n", b"name: a\r\nengine: auto\r\n"])
def test_windows_files_are_read(tmp_path: Path, encoded: bytes) -> None:
    """A byte order mark and CRLF line ends do no harm."""
    (tmp_path / "envctl.yaml").write_bytes(encoded)
    assert load(None, tmp_path, {}).project == "a"


def test_the_nearest_file_up_to_the_repository_is_used(tmp_path: Path) -> None:
    """The search goes upward and ends at the folder with `.git`; without git it does not go up at all."""
    inner = tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "envctl.yaml").write_text("name: outside")
    assert load(None, inner, {}).project is None
    (tmp_path / "repo" / ".git").touch()
    assert load(None, inner, {}).project is None
    (tmp_path / "repo" / "envctl.yml").write_text("name: repo")
    assert load(None, inner, {}).project == "repo"
    (inner.parent / "envctl.yaml").write_text("name: a")
    assert load(None, inner, {}).project == "a"
    assert find(inner, tmp_path / "repo") == inner.parent / "envctl.yaml"


def test_an_explicit_file_is_relative_to_the_start(tmp_path: Path) -> None:
    """`--file` names any file; its absolute path is kept as the source."""
    (tmp_path / "other.yaml").write_text("name: other")
    assert load(Path("other.yaml"), tmp_path, {}).source == str(tmp_path / "other.yaml")


@pytest.mark.provokes("NO_CONFIG")
def test_a_missing_file_is_not_found_with_the_nearest_name(tmp_path: Path) -> None:
    """Only a file that was asked for can be missing; a near name is suggested."""
    (tmp_path / "envctl.test.yaml").write_text("")
    with pytest.raises(ConfigNotFound, match=r"evctl\.test\.yaml does not exist") as caught:
        load(Path("evctl.test.yaml"), tmp_path, {})
    assert caught.value.fix == ('did you mean "envctl.test.yaml"?',)


def test_a_build_changes_its_fingerprint_with_its_files(tmp_path: Path) -> None:
    """A changed, added or removed file of the context builds again; caches and `.git` do not."""
    from envctl.host.config.build import fingerprint

    (tmp_path / "a").write_text("1")
    seen = [fingerprint(tmp_path)]
    (tmp_path / "a").write_text("22")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "b").touch()
    seen.append(fingerprint(tmp_path))
    (tmp_path / "a").chmod(0o700)
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 4
    for ignored in (".git", "node_modules", "__pycache__", ".venv"):
        (tmp_path / "d" / ignored).mkdir()
        (tmp_path / "d" / ignored / "x").touch()
    assert fingerprint(tmp_path) == seen[-1]
