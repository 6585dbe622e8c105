"""What is wrong with a configuration file, and where."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from envctl.errors import ConfigInvalid, ConfigNotFound, EnvctlError, UnsafeSetting
from envctl.host.config import build as build_module
from envctl.host.config import load


def problems(tmp_path: Path, text: str | bytes) -> list[dict[str, Any]]:
    """The problems of a file that holds `text`."""
    (tmp_path / "envctl.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EnvctlError) as caught:
        load(None, tmp_path, {"SET": "1"})
    found = caught.value.subject["problems"]
    assert isinstance(found, list)
    return found


def test_all_errors_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    """One error lists every problem in the file's order, in the form editors make clickable."""
    (tmp_path / "envctl.yaml").write_text("nmae: shop\nengine: docker\nservices:\n  postgres:\n    imgae: postgres\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(None, tmp_path, {})
    assert caught.value.message == "envctl.yaml has 3 errors"
    assert caught.value.exit == 65
    assert caught.value.evidence == (
        'envctl.yaml:1:1: unknown key "nmae" (did you mean "name"?)',
        'envctl.yaml:2:9: engine: "docker" is not allowed (one of auto, compose, embedded, swarm)',
        'envctl.yaml:5:5: services.postgres: unknown key "imgae" (did you mean "image"?)',
    )
    assert caught.value.subject["file"] == str(tmp_path / "envctl.yaml")
    assert caught.value.subject["problems"][0] == {  # type: ignore[index]  # it is there
        "line": 1, "column": 1, "path": "", "message": 'unknown key "nmae"', "hint": 'did you mean "name"?',
    }  # fmt: skip


WRONG = [
    # services
    ("services: {}", 1, 11, "no services"),
    ("services: []", 1, 11, "must be a mapping, not a list"),
    ("[]", 1, 1, "must be a mapping, not a list"),
    ("services: {Db: {image: a}}", 1, 12, "not a service name"),
    ("services: {x: 1}", 1, 15, "must be a mapping"),
    ("services: {x: {}}", 1, 15, "neither image, build nor process"),
    ("services: {x: {image: a, build: .}}", 1, 26, "both image and build"),
    ("services: {a-b: {image: a}, a_b: {image: a}}", 1, 29, "share the variables A_B_"),
    ("services: {x: {kind: postgrs}}", 1, 22, '"postgrs" is not allowed'),
    (
        "services: {x: {image: a, database: b}}",
        1,
        26,
        "setting of kind postgres and redis, and this service is generic",
    ),
    ("services: {postgres: {database: 'a b'}}", 1, 33, "not allowed"),
    ("services: {postgres: {environment: {POSTGRES_PASSWORD: x}}}", 1, 37, "POSTGRES_PASSWORD is set by envctl"),
    ("services: {x: {image: '-a'}}", 1, 23, "not allowed"),
    ("services: {x: {image: 'a b'}}", 1, 23, "not allowed"),
    ("services: {x: {image: 16}}", 1, 23, "must be text"),
    ("services: {x: {image: a, healthcheck: {}}}", 1, 26, "unknown key"),
    # types and values
    ("ttl: 30", 1, 6, "must be text"),
    ("ttl: '30'", 1, 6, "not a duration"),
    ("ttl: 0s", 1, 6, "out of range"),
    ("ready_timeout: 8d", 1, 16, "out of range"),
    ("name: ''", 1, 7, "must not be empty"),
    ("name: ../x", 1, 7, "not allowed"),
    ("publish_address: localhost", 1, 18, "not an IP address"),
    ("services: {x: {image: a, memory: 1m}}", 1, 34, "out of range"),
    ("services: {x: {image: a, memory: 512}}", 1, 34, "must be text"),
    ("services: {x: {image: a, persist: yes}}", 1, 35, "must be true or false"),
    ('services: {x: {image: a, command: "a \'b"}}', 1, 35, "cannot be split"),
    ("services: {x: {image: a, command: []}}", 1, 35, "names no program"),
    # environment and export
    ("services: {x: {image: a, environment: {A: }}}", 1, 40, "has no value"),
    ("services: {x: {image: a, environment: [A]}}", 1, 40, "has no value"),
    ("services: {x: {image: a, environment: {1A: b}}}", 1, 40, "not a name"),
    ("services: {x: {image: a, environment: {A: [b]}}}", 1, 43, "not a list"),
    ("export: {A: {postgres.url}}", 1, 13, "not a mapping"),
    ("export: {ENVCTL_A: b}", 1, 10, "envctl's own"),
    ("export: {A: '{postgress.url}'}", 1, 13, "postgress"),
    ("export: {A: '{postgres.nope}'}", 1, 13, "nope"),
    ('export: {A: "\\0"}', 1, 13, "NUL"),
    # ports
    ("services: {x: {image: a, port: 0}}", 1, 32, "not a port"),
    ("services: {x: {image: a, port: 65536}}", 1, 32, "not a port"),
    ("services: {x: {image: a, port: '70000:80'}}", 1, 32, "not a port"),
    ("services: {x: {image: a, port: {host: 80}}}", 1, 32, "no container port"),
    ("services: {x: {image: a, port: 127.0.0.1:80:80}}", 1, 32, "an address of its own"),
    ("services: {x: {image: a, ports: {A: 80}}}", 1, 34, "not a port name"),
    ("services: {x: {image: a, ports: {a: 80, b: 80}}}", 1, 33, "are both 80"),
    ("services: {x: {image: a, ports: [80]}}", 1, 33, "must be a mapping"),
    ("services: {x: {image: a, port: '80:80'}, y: {image: a, port: '80:81'}}", 1, 42, "host port 80 is already fixed"),
    # ready
    ("services: {x: {image: a, port: 80, ready: {}}}", 1, 43, "exactly one check"),
    ("services: {x: {image: a, port: 80, ready: {http: /, tcp: true}}}", 1, 43, "exactly one check"),
    ("services: {x: {image: a, port: 80, ready: {htpp: /}}}", 1, 44, "unknown key"),
    ("services: {x: {image: a, port: 80, ready: {http: x}}}", 1, 50, "not allowed"),
    ("services: {x: {image: a, port: 80, ready: {http: {status: 200}}}}", 1, 50, "has no path"),
    ("services: {x: {image: a, port: 80, ready: {http: {path: /, port: b}}}}", 1, 43, 'no port "b"'),
    ("services: {x: {image: a, ready: {http: /}}}", 1, 33, "the service has none"),
    ("services: {x: {image: a, port: 80, ready: {tcp: false}}}", 1, 49, "says no port"),
    ("services: {x: {image: a, port: 80, ready: {tcp: {send: a}}}}", 1, 49, "expects no answer"),
    ("services: {x: {image: a, ready: {log: '['}}}", 1, 39, "not a regular expression"),
    ("services: {x: {image: a, ready: {log: {pattern: a, count: 0}}}}", 1, 39, "out of range"),
    # depends_on
    ("services: {x: {image: a, depends_on: [y]}}", 1, 39, 'no service "y"'),
    ("services: {x: {image: a, depends_on: [x]}}", 1, 39, "on itself"),
    ("services: {x: {image: a, depends_on: y}}", 1, 38, "must be a list"),
    ("services: {x: {image: a, depends_on: [y]}, y: {image: a, depends_on: [x]}}", 1, 12, "x → y → x"),
    # volumes and builds
    ("services: {x: {image: a, volumes: ['/data']}}", 1, 36, "no volume and target"),
    ("services: {x: {image: a, volumes: ['a:b']}}", 1, 36, "not an absolute path"),
    ("services: {x: {image: a, volumes: ['a:/']}}", 1, 36, "not an absolute path"),
    ("services: {x: {image: a, volumes: ['a:/b:ro']}}", 1, 36, "not available"),
    ("services: {x: {image: a, volumes: ['a:/b', 'c:/b']}}", 1, 44, "mounted twice"),
    ("services: {x: {image: a, volumes: ['./nope:/b']}}", 1, 36, "does not exist"),
    ("services: {x: {image: a, volumes: ['.:/b']}}", 1, 36, "is a folder"),
    ("services: {x: {image: a, volumes: [{name: a, file: b, target: /c}]}}", 1, 36, "either name or file"),
    ("services: {x: {build: ./nope}}", 1, 23, "does not exist"),
    ("services: {x: {build: .}}", 1, 23, '"Dockerfile" does not exist'),
    ("services: {x: {build: 'https://example.org/x.git'}}", 1, 23, "not a folder of the project"),
    # variables
    ("name: ${NOPE}", 1, 7, "NOPE is not set"),
    ("name: ${}", 1, 7, "begins no variable"),
    ("name: '${SET'", 1, 7, "begins no variable"),
    # YAML itself
    ("name: a\nname: b", 2, 1, "there twice"),
    ("name: !!python/object:os.system a", 1, 7, "is not allowed"),
    ("services: !x {}", 1, 11, "is not allowed"),
    ("a: *b", 1, 4, "no anchor"),
    ("a: &b [*b]", 1, 8, "inside its own anchor"),
    ("a: 1\n---\nb: 2", 2, 1, "second document"),
    ("? [a]\n: b", 1, 3, "a key must be text"),
    ("services:\n\tx: 1", 2, 1, "cannot start any token"),
    ("x-a: 1\n<<: 1", 2, 1, "merges mappings only"),
    ("x-a: " + "[" * 50, 1, 45, "nested deeper"),
    ("a: \x01", 1, 4, "U+0001 is not allowed"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG)
def test_each_mistake_is_named_where_it_is(tmp_path: Path, text: str, line: int, column: int, message: str) -> None:
    """Each mistake gives one problem that names it, at its line and column."""
    found = problems(tmp_path, text)
    assert [(p["line"], p["column"]) for p in found] == [(line, column)], found
    assert message in found[0]["message"]


UNSAFE = [
    "volumes: ['/:/host']",
    "volumes: ['/var/run/docker.sock:/s']",
    "volumes: ['../x:/x']",
    "volumes: ['~/x:/x']",
    "volumes: ['./link:/x']",
    "volumes: [{file: /etc/passwd, target: /x}]",
    "privileged: true",
    "container_name: x",
    "network_mode: host",
    "pid: host",
    "cap_add: [ALL]",
    "port: '0.0.0.0:80:80'",
]


@pytest.mark.provokes("UNSAFE_SETTING")
@pytest.mark.parametrize("setting", UNSAFE)
def test_unsafe_settings_are_refused_as_such(tmp_path: Path, setting: str) -> None:
    """What breaks isolation has its own error, as long as nothing else is wrong."""
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "envctl.yaml").write_text(f"services: {{x: {{image: a, {setting}}}}}")
    with pytest.raises(UnsafeSetting) as caught:
        load(None, tmp_path, {})
    assert caught.value.exit == 78
    assert len(caught.value.evidence) == 1


def test_unsafe_builds_are_refused(tmp_path: Path) -> None:
    """A build context or Dockerfile outside the project would send that folder to the engine."""
    (tmp_path / "Dockerfile").symlink_to("/etc/hostname")
    for build in ("/", "..", "."):
        (tmp_path / "envctl.yaml").write_text(f"services: {{x: {{build: '{build}'}}}}")
        with pytest.raises(UnsafeSetting):
            load(None, tmp_path, {})


def test_unsafe_settings_are_listed_among_other_errors(tmp_path: Path) -> None:
    """With other errors beside, one list holds both."""
    found = problems(tmp_path, "nmae: a\nservices: {x: {image: a, privileged: true}}")
    assert [p["line"] for p in found] == [1, 2]


def test_a_syntax_error_shows_its_line(tmp_path: Path) -> None:
    """The line of the file follows with a mark below the place."""
    (tmp_path / "envctl.yaml").write_text("services:\n  a: [1, }\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(None, tmp_path, {})
    line, mark = caught.value.evidence[1:]
    assert line.endswith("  a: [1, }")
    assert line[mark.index("^")] == "}"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Pipes and devices are never opened, so nothing hangs and nothing endless is read."""
    path = tmp_path / "envctl.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ConfigNotFound, match=f"is a {kind.replace('fifo', 'named pipe')}"):
        load(None, tmp_path, {})


def test_bytes_that_are_no_text_and_endless_files_are_invalid(tmp_path: Path) -> None:
    """A wrong encoding is named by line and byte; a file that is too large is not read further."""
    assert problems(tmp_path, b"name: a\nx: \xff")[0]["line"] == 2
    assert "UTF-8" in problems(tmp_path, "name: a".encode("utf-16"))[0]["message"]
    assert "larger than 1024 KiB" in problems(tmp_path, "#" * (1024**2 + 1))[0]["message"]


BOMBS = {
    "aliases": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
    "merges": "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)),
    "brackets": "a: " + "[" * 1_000_000,
    "braces": "{a: " * 250_000,
    "dashes": "- " * 500_000,
    "questions": "? " * 500_000,
    "values": "a: [" + "1," * 500_000 + "]",
    "unknown keys": "".join(f"nam{n}: 1\n" for n in range(15_000)),
    "wrong services": "services:\n" + "".join(f"  x{n}: {{imgae: 1, prots: 2}}\n" for n in range(3_000)),
    "long key": "n" * 1_000_000 + ": 1",
    "anchors": "".join(f"&a{n} " for n in range(100_000)),
    "variables": "name: " + "${SET}" * 150_000,
    "dollars": "name: " + "${" * 500_000,
    "circle": "services:\n" + "".join(f"  s{n}: {{image: a, depends_on: [s{(n + 1) % 1500}]}}\n" for n in range(1500)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_small_file_costs_more_than_a_moment(tmp_path: Path, name: str) -> None:
    """Expansion, depth and the number of problems are bounded, so hostile files end in an error at once."""
    began = time.process_time()
    found = problems(tmp_path, BOMBS[name])
    assert time.process_time() - began < 3  # well below a second alone; several times that on a crowded machine
    assert 1 <= len(found) <= 100


def test_a_large_build_context_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a build context is bounded, with the bound in the message."""
    monkeypatch.setattr(build_module, "MAX_FILES", 2)
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "b").touch()
    found = problems(tmp_path, "services: {x: {build: .}}")
    assert re.search("more than 2 files", found[0]["message"])


def test_an_error_stays_on_one_line(tmp_path: Path) -> None:
    """What the file holds cannot break the list of errors or reach the terminal raw."""
    (tmp_path / "envctl.yaml").write_text('"a\\nb\\e[31m": 1')
    with pytest.raises(ConfigInvalid) as caught:
        load(None, tmp_path, {})
    assert caught.value.evidence[0].isprintable()
