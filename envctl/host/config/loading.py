"""`envctl.yaml` as a specification: read, checked as a whole, and with every default filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from envctl.errors import ConfigNotFound
from envctl.host.config import cross, dependencies, interpolation, source
from envctl.host.config.default import default_services, default_spec
from envctl.host.config.keys import (
    ENGINE_OPTIONS,
    ENGINES,
    MIRROR,
    PROJECT_NAME,
    PULL_POLICIES,
    SERVICE_NAME,
    SYSTEM,
    TOP,
)
from envctl.host.config.nodes import MapNode, Node, ScalarNode, YamlError, compose
from envctl.host.config.problems import Problem, Report, TooMany, did_you_mean, shown
from envctl.host.config.services import service, unknown_hint
from envctl.host.config.values import VARIABLE_NAME, Context, Fields, converted, mapping, matching, one_of, pairs, text
from envctl.host.digests import Digests
from envctl.model import LOOPBACK, EngineName, EnvironmentSpec, PullPolicy, ServiceSpec
from envctl.plan.units import duration_s

DEFAULT_READY_TIMEOUT_S = 60.0
SNAPSHOTS_MAX_BYTES = 5 * 1024**3

_DAY_S = 86_400.0
_project = matching(PROJECT_NAME, "letters, digits, spaces, . _ and -, at most 63")
_ttl = converted(duration_s, low=1.0, high=3650 * _DAY_S, limits="1s to 3650d")
_timeout = converted(duration_s, low=0.1, high=_DAY_S, limits="100ms to 1d")
_engine = one_of(ENGINES)
_pull = one_of(PULL_POLICIES)
_registry = matching(
    MIRROR, "HOST[:PORT][/PATH] without https://, HOST with a dot or a port: mirror.example.com:5000/hub"
)
_export = pairs(rf"(?!ENVCTL_){VARIABLE_NAME}")


def load_file(file: Path, start: Path, environ: Mapping[str, str]) -> EnvironmentSpec:
    """The specification that a configuration file gives.

    Args:
        file: The file.
        start: The folder the caller stands in; messages show the file from there.
        environ: The variables that `${NAME}` in the file refers to.

    Raises:
        ConfigNotFound: It does not exist, or is no file that can be read.
        ConfigInvalid: The file has errors; all are listed. Also where it is too large or not UTF-8.
        UnsafeSetting: All that is wrong with the file is that settings are unsafe.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100 - quicker than pathlib
    shown_file = _shown(file, start)
    try:
        content = source.read_text(file)
    except source.Unreadable as error:
        if error.line is not None:
            report = Report(file, shown_file, [Problem(error.line, 1, "", f"the file {error}")])
            report.raise_all()
        raise _unreadable(file, shown_file, error) from error
    return parse(content, file, shown_file, environ)


def parse(content: str, file: Path, shown_file: str, environ: Mapping[str, str]) -> EnvironmentSpec:
    """The specification that `content` gives, as if it stood in `file`. Raises as `load` does."""
    report = Report(file, shown_file)
    root = _project_root(file)
    context = Context(report, Path(os.path.realpath(file.parent)), root, Digests(root, environ))
    excerpt: list[str] = []
    spec = default_spec()
    try:
        tree = compose(content)
        interpolation.expand(tree, environ, report)
        spec = _environment(tree, context)
    except YamlError as error:
        report.problems.append(Problem(error.line, error.column, "", error.message, error.hint))
        excerpt = _excerpt(content, error)
    except TooMany:
        pass  # what was found is enough to be raised
    report.raise_all(excerpt)
    context.digests.keep()
    return spec


def _environment(root: Node | None, context: Context) -> EnvironmentSpec:
    if root is None or (not isinstance(root, MapNode) and getattr(root, "type", "") == "null"):
        return EnvironmentSpec(services=default_services(), source=str(context.report.file))
    top = mapping(root, "", context, "services: {postgres: {}}")
    if top is None:
        return default_spec()
    for key, (node, _) in top.items.items():
        if key not in TOP and not key.startswith("x-"):  # `x-…` holds anchors, as in Compose
            context.report.add(node, "", f"unknown key {shown(key)}", unknown_hint(key, TOP))
    fields = Fields(top, "", context)
    kept, unseeded, most = fields.read("snapshots", _snapshots) or (True, False, None)
    spec = EnvironmentSpec(
        services=_services(fields),
        project=fields.read("name", _project),
        engine=cast(EngineName, fields.read("engine", _engine) or "auto"),
        ttl_s=fields.read("ttl", _ttl),
        ready_timeout_s=fields.read("ready_timeout", _timeout) or DEFAULT_READY_TIMEOUT_S,
        export=fields.read("export", _export) or {},
        publish_address=fields.read("publish_address", _address) or LOOPBACK,
        engine_options=fields.read("engine_options", _engine_options) or {},
        pull=cast(PullPolicy, fields.read("pull", _pull) or "missing"),
        registry_mirror=fields.read("registry_mirror", _mirror),
        snapshots=kept,
        snapshots_unseeded=unseeded,
        snapshots_max_bytes=most or SNAPSHOTS_MAX_BYTES,
        source=str(context.report.file),
    )
    cross.check(spec, top, context.report)
    return spec


def _services(fields: Fields) -> Mapping[str, ServiceSpec]:
    if not fields.has("services"):
        return default_services()
    node = fields.node.items["services"][1]
    found = mapping(node, "services", fields.context, "or leave it out for postgres, redis and websocket")
    if found is None:
        return {}
    if not found.items:
        hint = "leave `services` out for postgres, redis and websocket"
        fields.context.report.add(node, "services", "no services", hint)
    result, said = {}, set()
    for name, (key, value) in found.items.items():
        if not re.fullmatch(SERVICE_NAME, name):
            hint = "a small letter, then small letters, digits, _ and -; at most 40"
            fields.context.report.add(key, "services", f"{shown(name)} is not a service name", hint)
        elif made := service(name, value, f"services.{name}", fields.context):
            result[name] = made
            if isinstance(value, MapNode) and "depends_on" in value.items:
                said.add(name)
    return dependencies.with_defaults(result, said)


def _snapshots(node: Node, path: str, context: Context) -> tuple[bool, bool, int | None]:
    from envctl.host.config.data import snapshots

    return snapshots(node, path, context)


def _engine_options(node: Node, path: str, context: Context) -> Mapping[str, str] | None:
    found = mapping(node, path, context, "{postgres_bin: /usr/lib/postgresql/18/bin}")
    if found is None:
        return None
    for key, (key_node, _) in found.items.items():
        if key not in ENGINE_OPTIONS:
            context.report.add(key_node, path, f"unknown key {shown(key)}", unknown_hint(key, ENGINE_OPTIONS))
    fields = Fields(found, path, context)
    read = {key: fields.read(key, _program) for key in ENGINE_OPTIONS if fields.has(key)}
    return {key: value for key, value in read.items() if value is not None}


def _program(node: Node, path: str, context: Context) -> str | None:
    """Where a program is: the word for this machine's own, or an absolute path; it may well be outside the project."""
    raw = text(node, path, context)
    if raw is None or raw == SYSTEM:
        return raw
    if raw.startswith("~"):
        context.report.add(node, path, f"{shown(raw)}: ~ is not replaced", 'write "${HOME}/…"')
        return None
    if "/" not in raw and not (context.base / raw).exists():
        hint = f"a path, or {SYSTEM}: the one this machine has"
        context.report.add(node, path, f"{shown(raw)} does not exist", hint)
        return None
    return os.path.abspath(context.base / raw)  # noqa: PTH100 - links stay as the user wrote them


def _address(node: Node, path: str, context: Context) -> str | None:
    value = text(node, path, context)
    if value is None or value == LOOPBACK:
        return value
    from ipaddress import ip_address

    try:
        return str(ip_address(value))
    except ValueError:
        context.report.add(node, path, f"{shown(value)} is not an IP address", f"such as {LOOPBACK}")
        return None


def _mirror(node: Node, path: str, context: Context) -> str | None:
    """Nothing at all is no mirror, so that a variable that is set in CI alone can name it."""
    if isinstance(node, ScalarNode) and node.type == "text" and not node.text:
        return None
    return _registry(node, path, context)


def _project_root(file: Path) -> Path:
    """The repository the file is in; a configuration outside any repository owns its own folder only."""
    return source.repository_root(Path(os.path.realpath(file.parent)))


def _shown(file: Path, start: Path) -> str:
    relative = os.path.relpath(file, start)
    return relative if not relative.startswith("../../..") else str(file)


def _unreadable(file: Path, shown_file: str, error: source.Unreadable) -> ConfigNotFound:
    near = [entry.name for entry in file.parent.iterdir()] if error.absent and file.parent.is_dir() else []
    hint = did_you_mean(file.name, near)
    return ConfigNotFound(
        f"configuration file {shown_file} {error}",
        fix=[hint] if hint else ["check the path; without --file the nearest envctl.yaml is used, else the default"],
        subject={"file": str(file)},
        state="nothing was created",
    )


def _excerpt(content: str, error: YamlError) -> list[str]:
    """The line of the file with a mark below the place; very long lines are cut around it."""
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", content)
    if error.line > len(lines):
        return []
    first = max(0, error.column - 60)
    line = lines[error.line - 1][first : first + 100].replace("\t", " ")
    return [f"{error.line:>5} | {line}", " " * 8 + " " * (error.column - 1 - first) + "^"] if line.strip() else []
