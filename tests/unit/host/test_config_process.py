"""`process`, its own settings, and where the embedded engine finds its programs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envctl.errors import ConfigInvalid, EnvctlError, UnsafeSetting
from envctl.host.config import inputs as inputs_module
from envctl.host.config import load
from envctl.host.config.inputs import fingerprint
from envctl.model import EnvironmentSpec, LogReady, PortSpec, ProcessSpec, ServiceSpec


def spec(folder: Path, text: str, environ: dict[str, str] | None = None) -> EnvironmentSpec:
    """The specification `text` gives as the file of `folder`."""
    (folder / "envctl.yaml").write_text(text)
    return load(None, folder, environ or {})


def process(folder: Path, settings: str) -> ProcessSpec:
    """The process of one service `x` with `settings`, a flow mapping."""
    found = spec(folder, f"services: {{x: {settings}}}").services["x"].process
    assert found is not None
    return found


def problems(folder: Path, text: str) -> list[dict[str, Any]]:
    """The problems of a file that holds `text`."""
    with pytest.raises(EnvctlError) as caught:
        spec(folder, text)
    found = caught.value.subject["problems"]
    assert isinstance(found, list)
    return found


# -- the command and its settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("npm run start:test", ("/bin/sh", "-c", "npm run start:test")),
        (
            "'A=1 node x.js --port $PORT && echo \"a  b\"'",
            ("/bin/sh", "-c", 'A=1 node x.js --port $PORT && echo "a  b"'),
        ),
        ("'echo $${PORT}'", ("/bin/sh", "-c", "echo ${PORT}")),
        ("[node, server.js, --retries, 3, '$PORT', '']", ("node", "server.js", "--retries", "3", "$PORT", "")),
        ("['true']", ("true",)),
    ],
)
def test_text_is_for_the_shell_and_a_list_is_not(tmp_path: Path, given: str, command: tuple[str, ...]) -> None:
    """A text reaches `/bin/sh -c` as it is written, a list the program itself."""
    assert process(tmp_path, f"{{process: {given}}}").command == command


def test_defaults(tmp_path: Path) -> None:
    """It runs in the file's folder, ends by SIGTERM, and no file starts it again."""
    assert process(tmp_path, "{process: [a]}") == ProcessSpec(("a",), str(tmp_path), "SIGTERM", (), "")


def test_cwd_is_relative_to_the_file(tmp_path: Path) -> None:
    """A folder inside the project, also one beside the file's."""
    inner, other = tmp_path / "app", tmp_path / "server"
    inner.mkdir()
    other.mkdir()
    (tmp_path / ".git").mkdir()
    assert process(inner, "{process: a, cwd: ../server}").cwd == str(other)
    assert process(inner, "{process: a}").cwd == str(inner)


@pytest.mark.parametrize("given", ["INT", "SIGINT"])
def test_a_signal_has_its_whole_name(tmp_path: Path, given: str) -> None:
    """`SIG` may be left out."""
    assert process(tmp_path, f"{{process: a, stop_signal: {given}}}").stop_signal == "SIGINT"


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("websocket", "{process: a}", "websocket"),
        ("chat", "{process: a, kind: websocket, port: auto, path: /live}", "websocket"),
        ("postgres", "{process: a, database: shop}", "postgres"),
        ("websocket", "{process: a, kind: generic}", "generic"),
        ("server", "{process: a, port: auto, ready: {tcp: true}}", "generic"),
    ],
)
def test_the_kind_is_found_as_for_images(tmp_path: Path, name: str, settings: str, kind: str) -> None:
    """What is said counts, then the name; there is no image then, not even the kind's own."""
    found = spec(tmp_path, f"services: {{{name}: {settings}}}").services[name]
    assert (found.kind, found.image, found.build) == (kind, None, None)
    assert found.process is not None


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ("port: auto", (PortSpec("main", 65536),)),
        ("port: 3001", (PortSpec("main", 3001),)),
        ("port: '3001:3001'", (PortSpec("main", 3001, 3001),)),
        ("port: {container: 80, host: 8080}", (PortSpec("main", 80, 8080),)),
        (
            "ports: {http: auto, admin: 2, metrics: auto}",
            (PortSpec("http", 65536), PortSpec("admin", 2), PortSpec("metrics", 65537)),
        ),
        ("port: auto, ports: {metrics: auto}", (PortSpec("main", 65536), PortSpec("metrics", 65537))),
        ("kind: websocket", (PortSpec("websocket", 3001),)),
        ("kind: websocket, port: auto", (PortSpec("websocket", 65536),)),
        ("kind: generic", ()),
    ],
)
def test_ports_of_a_process(tmp_path: Path, settings: str, ports: tuple[PortSpec, ...]) -> None:
    """`auto` ports are told apart by numbers nobody listens on; the other forms mean what they mean for images."""
    assert spec(tmp_path, f"services: {{x: {{process: a, {settings}}}}}").services["x"].ports == ports


def test_a_worker_needs_no_port(tmp_path: Path) -> None:
    """Without a port it is ready by its log, a command, or by running on."""
    found = spec(tmp_path, "services: {a: {process: x, ready: {log: up}}, b: {process: x}}").services
    assert (found["a"].ready, found["b"].ready) == (LogReady("up"), None)
    assert "asks a port" in problems(tmp_path, "services: {a: {process: x, ready: {http: /}}}")[0]["message"]


WRONG = [
    ("{process: }", 25, "must be text, not nothing", ""),
    ("{process: ''}", 25, "must not be empty", ""),
    ("{process: '  '}", 25, "names no program", "npm run"),
    ("{process: []}", 25, "names no program", ""),
    ("{process: 5}", 25, "must be text", "in quotes"),
    ("{process: {a: b}}", 25, "must be text", ""),
    ("{process: a, image: b}", 28, "both process and image", "keep one"),
    ("{process: a, build: .}", 28, "both process and build", "keep one"),
    ("{process: a, command: b}", 28, "both process and command", "arguments stand in process"),
    ("{process: a, volumes: []}", 28, "both process and volumes", "where they are"),
    ("{process: a, memory: 64m}", 28, "both process and memory", "cannot be limited"),
    ("{process: a, persist: true}", 28, "both process and persist", "repository's own"),
    ("{image: a, cwd: .}", 26, "setting of services with process", "remove cwd"),
    ("{image: a, stop_signal: INT}", 26, "setting of services with process", "remove stop_signal"),
    ("{image: a, inputs: [a]}", 26, "setting of services with process", "remove inputs"),
    ("{image: a, port: auto}", 32, '"auto" is not a port', "services with process"),
    ("{image: a, ports: {http: auto}}", 40, '"auto" is not a port', "services with process"),
    ("{process: a, port: automatic}", 34, "is not a port", "auto"),
    ("{process: a, cwd: ./nope}", 33, "does not exist", "looked for in"),
    ("{process: a, cwd: envctl.yaml}", 33, "is not a folder", "./server"),
    ("{process: a, stop_signal: SIGSTOP}", 41, "not allowed", "SIGTERM"),
    ("{process: a, stop_signal: term}", 41, "not allowed", "SIGTERM"),
    ("{process: a, stop_signal: 15}", 41, "must be text", ""),
    ("{process: a, port: auto, environment: {PORT: 3000}}", 54, "PORT is set by envctl", "3001:3001"),
    ("{process: a, port: auto, environment: [PORT=3000]}", 54, "PORT is set by envctl", "3001:3001"),
    ("{process: a, ports: {a: 80, b: 80}}", 35, "are both 80", ""),
    ("{process: a, depends_on: [y]}", 41, 'no service "y"', ""),
    ("{process: a, depends_on: [x]}", 41, "on itself", ""),
    ("{process: 'echo ${NOPE}'}", 25, "NOPE is not set", '"$${NOPE}"'),
    ("{process: [echo, '${NOPE}']}", 32, "NOPE is not set", '"$${NOPE}"'),
    ("{image: a, working_dir: b}", 26, "unknown key", "use cwd with process"),
    ("{proces: a, image: b}", 16, "unknown key", 'did you mean "process"?'),
]


@pytest.mark.parametrize(("settings", "column", "message", "hint"), WRONG)
def test_each_mistake_is_named_with_a_way_out(
    tmp_path: Path, settings: str, column: int, message: str, hint: str
) -> None:
    """Each mistake gives one problem, at its column, that says what is wrong and what would be right."""
    found = problems(tmp_path, f"services: {{x: {settings}}}")
    assert [p["column"] for p in found] == [column], found
    assert message in found[0]["message"]
    assert hint in (found[0]["hint"] or "")


def test_a_worker_s_port_variable_is_its_own(tmp_path: Path) -> None:
    """Without a port of its own a process may have a PORT that means something else."""
    found = spec(tmp_path, "services: {x: {process: a, environment: {PORT: 25}}}").services["x"]
    assert found.environment == {"PORT": "25"}


@pytest.mark.parametrize(
    "setting", ["cwd: ..", "cwd: /", "cwd: ~/x", "cwd: ./link", "inputs: [../x]", "inputs: [/etc/**]"]
)
def test_nothing_outside_the_project_is_used(tmp_path: Path, setting: str) -> None:
    """A process runs in the project, and only its files start it again."""
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(UnsafeSetting) as caught:
        spec(tmp_path, f"services: {{x: {{process: a, {setting}}}}}")
    assert len(caught.value.evidence) == 1


# -- depends_on --------------------------------------------------------------------------------------------------------


def waits(tmp_path: Path, services: str) -> dict[str, tuple[str, ...]]:
    """Process → what it waits for."""
    found = spec(tmp_path, f"services: {{{services}}}").services.values()
    return {service.name: service.depends_on for service in found if service.process}


def test_a_process_waits_for_what_is_none(tmp_path: Path) -> None:
    """By default every other service comes first, in the order of the file; other processes do not."""
    found = waits(tmp_path, "a: {process: a}, postgres: {}, b: {process: b}, web: {image: c}")
    assert found == {"a": ("postgres", "web"), "b": ("postgres", "web")}


def test_what_is_said_counts(tmp_path: Path) -> None:
    """`depends_on` is taken as it is written, nothing at all included."""
    found = waits(tmp_path, "a: {process: a, depends_on: []}, b: {process: b, depends_on: [a]}, redis: {}")
    assert found == {"a": (), "b": ("a",)}


def test_what_waits_for_a_process_is_not_waited_for(tmp_path: Path) -> None:
    """A service that needs the process, through however many others, does not come before it."""
    found = waits(
        tmp_path,
        "redis: {}, a: {process: a}, near: {image: x, depends_on: [a]}, far: {image: x, depends_on: [near]}, "
        "b: {process: b, depends_on: [a]}, further: {image: x, depends_on: [b]}",
    )
    assert found == {"a": ("redis",), "b": ("a",)}


def test_defaults_never_make_a_circle(tmp_path: Path) -> None:
    """Two processes and two services that wait for them crosswise still have an order."""
    found = waits(
        tmp_path,
        "p: {process: p}, q: {process: q}, x: {image: x, depends_on: [q]}, y: {image: y, depends_on: [p]}",
    )
    assert found == {"p": ("x",), "q": ()}


def test_circles_through_processes_are_found(tmp_path: Path) -> None:
    """A circle that the user wrote is told as such."""
    text = "services: {a: {process: a, depends_on: [b]}, b: {process: b, depends_on: [a]}}"
    assert "a → b → a" in problems(tmp_path, text)[0]["message"]


def test_many_processes_are_put_in_order_at_once(tmp_path: Path) -> None:
    """The default costs a moment only, however many services there are."""
    many = ", ".join(f"s{n}: {{{'process' if n % 2 else 'image'}: a}}" for n in range(2000))
    began = time.process_time()
    found = waits(tmp_path, many)
    assert time.process_time() - began < 5
    assert {len(names) for names in found.values()} == {1000}


# -- inputs ------------------------------------------------------------------------------------------------------------

TREE = (
    "package.json", "README.md", "src/a.ts", "src/b.js", "src/deep/er/c.ts", "src/deep/[x].ts", "src/.hidden",
    "lib/d.ts", "node_modules/m/index.js", "src/node_modules/n.js", ".git/HEAD", "src/__pycache__/a.pyc",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with files in several folders, and those nobody writes by hand."""
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def matched(tree: Path, *patterns: str) -> set[str]:
    """The files whose change is noticed."""
    found = set()
    for name in TREE:
        before = fingerprint(tree, patterns)
        os.utime(tree / name, ns=(1, time.time_ns()))
        if fingerprint(tree, patterns) != before:
            found.add(name)
    return found


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("src/**", {"src/a.ts", "src/b.js", "src/deep/er/c.ts", "src/deep/[x].ts", "src/.hidden"}),
        ("src/**/*.ts", {"src/a.ts", "src/deep/er/c.ts", "src/deep/[x].ts"}),
        ("**/*.ts", {"src/a.ts", "src/deep/er/c.ts", "src/deep/[x].ts", "lib/d.ts"}),
        ("src/*", {"src/a.ts", "src/b.js", "src/.hidden"}),
        ("src/?.[jt]s", {"src/a.ts", "src/b.js"}),
        ("*/deep/**/c.ts", {"src/deep/er/c.ts"}),
        ("**/er/**", {"src/deep/er/c.ts"}),
        ("**/**/c.ts", {"src/deep/er/c.ts"}),
        ("package.json", {"package.json"}),
        ("*.json", {"package.json"}),
        ("**", {"package.json", "README.md", "src/a.ts", "src/b.js", "src/deep/er/c.ts", "src/deep/[x].ts",
                "src/.hidden", "lib/d.ts"}),
        ("node_modules/**", {"node_modules/m/index.js"}),
        ("src/node_modules/*", {"src/node_modules/n.js"}),
        (".git/HEAD", {".git/HEAD"}),
        ("src/deep/[[]x].ts", {"src/deep/[x].ts"}),
        ("SRC/**", set()),
        ("nothing/**", set()),
    ],
)  # fmt: skip
def test_a_pattern_matches(tree: Path, pattern: str, files: set[str]) -> None:
    """`**`, `*`, `?` and sets; what tools make is matched only where it is named."""
    assert matched(tree, pattern) == files


def test_patterns_are_put_in_a_plain_form(tree: Path) -> None:
    """`./`, a folder's name and its slash mean what people mean by them; what is there twice is there once."""
    found = process(tree, "{process: a, inputs: ['./src', 'src/', 'lib//*.ts', package.json, '.']}")
    assert found.inputs == ("src/**", "lib/*.ts", "package.json", "**")
    assert found.fingerprint == fingerprint(tree, found.inputs)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "src/a.ts").write_text("longer than before"),
    "time": lambda tree: os.utime(tree / "src/a.ts", ns=(0, 0)),
    "mode": lambda tree: (tree / "src/a.ts").chmod(0o700),
    "added": lambda tree: (tree / "src/new.ts").touch(),
    "removed": lambda tree: (tree / "src/a.ts").unlink(),
    "renamed": lambda tree: (tree / "src/a.ts").rename(tree / "src/z.ts"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_file_is_noticed(tree: Path, change: str) -> None:
    """Content, time, mode and name of a file are part of the fingerprint, which is the same where nothing changed."""
    settings = "{process: a, inputs: ['src/**']}"
    before = process(tree, settings).fingerprint
    assert before == process(tree, settings).fingerprint != ""
    CHANGES[change](tree)
    assert process(tree, settings).fingerprint != before


def test_other_files_change_nothing(tree: Path) -> None:
    """A file that no pattern matches does not start the process again."""
    before = process(tree, "{process: a, inputs: ['src/**']}").fingerprint
    (tree / "README.md").write_text("new")
    (tree / "src/node_modules/new.js").touch()
    assert process(tree, "{process: a, inputs: ['src/**']}").fingerprint == before


def test_links_end(tree: Path) -> None:
    """Links to folders are not followed, so none is endless and none leads out; one to a file counts as the file."""
    (tree / "src/loop").symlink_to(tree)
    (tree / "src/itself").symlink_to("itself")
    (tree / "src/nowhere").symlink_to("nowhere-at-all")
    (tree / "src/outside").symlink_to("/")
    (tree / "src/linked.ts").symlink_to(tree / "lib/d.ts")
    before = fingerprint(tree, ["src/**"])
    (tree / "lib/d.ts").write_text("changed through the link")
    assert fingerprint(tree, ["src/**"]) != before


def test_odd_files_are_only_looked_at(tree: Path) -> None:
    """Pipes are never opened, and names that are no text do no harm."""
    os.mkfifo(tree / "src/pipe")
    (Path(os.fsdecode(os.fsencode(tree) + b"/src/\xff\xfe"))).touch()
    assert fingerprint(tree, ["src/**"]) == fingerprint(tree, ["src/**"])


def test_folders_that_cannot_match_are_not_entered(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a pattern can reach is looked at, so a large folder beside it costs nothing."""
    for number in range(50):
        (tree / "lib" / str(number)).mkdir()
    monkeypatch.setattr(inputs_module, "MAX_FILES", 30)
    assert fingerprint(tree, ["src/**/*.ts", "package.json", "*.md", "*", "l*"])


def test_too_many_files_are_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking is bounded, and the message says how to bound it better."""
    monkeypatch.setattr(inputs_module, "MAX_FILES", 3)
    (found,) = problems(tree, "services: {x: {process: a, inputs: ['**']}}")
    assert "more than 3 files" in found["message"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("src/**", "must be a list"),
        ("['!src/gen/**']", "cannot take files away"),
        ("['src/*.{ts,js}']", "braces"),
        ("['src/**.ts']", "stands alone"),
        ("['']", "must not be empty"),
        ("[5]", "must be text"),
        ("[" + ",".join(f"a{n}" for n in range(51)) + "]", "more than 50 patterns"),
        ("[" + "a" * 201 + "]", "longer than 200"),
        ('["a\\0"]', "NUL"),
    ],
)
def test_what_is_no_pattern_is_refused(tmp_path: Path, given: str, message: str) -> None:
    """What would silently match nothing is an error instead."""
    (found,) = problems(tmp_path, f"services: {{x: {{process: a, inputs: {given}}}}}")
    assert message in found["message"]


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[!", "[z-a]", "a[[b]", "[a&&b]", "[a--b]", "*" * 100, "*a" * 90])
def test_odd_patterns_do_no_harm(tree: Path, pattern: str) -> None:
    """Patterns are never an error of the program, nor slow."""
    if "**" not in pattern:
        began = time.process_time()
        assert process(tree, f"{{process: a, inputs: ['{pattern}', 'src/{pattern}']}}").fingerprint
        assert time.process_time() - began < 1
    else:
        assert problems(tree, f"services: {{x: {{process: a, inputs: ['{pattern}']}}}}")


def test_patterns_are_relative_to_the_file(tree: Path) -> None:
    """As all paths of a file are; `..` leads to the rest of the project, and no further."""
    app = tree / "apps" / "[api]"
    (app / "src").mkdir(parents=True)
    settings = "{process: a, inputs: ['src/**', ../../lib/*.ts, ../../package.json]}"
    found = process(app, settings)
    assert found.inputs == ("apps/[[]api]/src/**", "lib/*.ts", "package.json")
    (app / "src" / "new.ts").touch()
    after = process(app, settings).fingerprint
    assert after != found.fingerprint
    (tree / "src" / "a.ts").write_text("another src")
    assert process(app, settings).fingerprint == after
    with pytest.raises(UnsafeSetting):
        process(app, "{process: a, inputs: ['../../../**']}")


def test_a_folder_that_cannot_be_read_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked at could change unseen."""

    def refused(path: str) -> Any:  # as root every folder can be read
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(inputs_module.os, "scandir", refused)
    (found,) = problems(tree, "services: {x: {process: a, inputs: ['src/**']}}")
    assert "cannot be looked at: Permission denied" in found["message"]


# -- engine_options ----------------------------------------------------------------------------------------------------


def test_programs_are_found_from_the_file(tmp_path: Path) -> None:
    """A path is relative to the file's folder and may lead out of the project; `system` stays a word."""
    found = spec(
        tmp_path,
        "engine_options: {postgres_bin: ../pg/bin, redis_bin: '${HERE}/redis-server', valkey_bin: system}",
        {"HERE": "/opt/x"},
    )
    assert found.engine_options == {
        "postgres_bin": str(tmp_path.parent / "pg" / "bin"),
        "redis_bin": "/opt/x/redis-server",
        "valkey_bin": "system",
    }
    assert spec(tmp_path, "engine: embedded").engine_options == {}


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("{postgres: system}", 'unknown key "postgres"', "did you mean"),
        ("{postgres_bni: system}", "unknown key", 'did you mean "postgres_bin"?'),
        ("{redis_bin: redis-server}", "does not exist", "system"),
        ("{redis_bin: ~/redis-server}", "~ is not replaced", "${HOME}"),
        ("{redis_bin: ''}", "must not be empty", ""),
        ("{redis_bin: 5}", "must be text", ""),
        ("[a]", "must be a mapping", "postgres_bin"),
    ],
)
def test_wrong_engine_options(tmp_path: Path, given: str, message: str, hint: str) -> None:
    """Unknown options and what is no path are named with what would be right."""
    (found,) = problems(tmp_path, f"engine_options: {given}")
    assert message in found["message"]
    assert hint in (found["hint"] or "")


def test_all_problems_of_a_process_come_at_once(tmp_path: Path) -> None:
    """One error lists everything that is wrong with a service."""
    (tmp_path / "envctl.yaml").write_text(
        "services:\n  x:\n    process: ''\n    image: a\n    cwd: ./nope\n    stop_signal: NO\n    inputs: ['{a,b}']\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        load(None, tmp_path, {})
    assert [problem["line"] for problem in caught.value.subject["problems"]] == [3, 4, 5, 6, 7]  # type: ignore[index]  # it is there


def test_services_without_process_are_as_before(tmp_path: Path) -> None:
    """Nothing of the above touches services in containers."""
    found: ServiceSpec = spec(tmp_path, "services: {redis: {}, web: {image: a}}").services["web"]
    assert (found.process, found.depends_on) == (None, ())
