"""`volumes`: named volumes, and single read-only files of the project."""

from __future__ import annotations

import posixpath
import re

from envctl.host.config.inside import project_path
from envctl.host.config.nodes import MapNode, Node
from envctl.host.config.problems import shown
from envctl.host.config.source import Unreadable, read_text
from envctl.host.config.values import Context, Fields, items, text
from envctl.model import VolumeSpec

MAX_FILE_BYTES = 512 * 1024
VOLUME_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}"
FORM = '"name:/path/inside" or "./file.sql:/path/inside/file.sql"'


def volumes(node: Node, path: str, context: Context) -> tuple[VolumeSpec, ...] | None:
    """The list of volumes and files; every target is used once."""
    found = items(node, path, context, FORM)
    if found is None:
        return None
    result: dict[str, VolumeSpec] = {}
    for number, item in enumerate(found):
        at = f"{path}[{number}]"
        volume = _long(item, at, context) if isinstance(item, MapNode) else _short(item, at, context)
        if volume is None:
            continue
        if volume.target in result:
            context.report.add(item, at, f"{shown(volume.target)} is mounted twice")
        result[volume.target] = volume
    return tuple(result.values())


def _short(node: Node, path: str, context: Context) -> VolumeSpec | None:
    raw = text(node, path, context)
    if raw is None:
        return None
    source, colon, rest = raw.partition(":")
    target, second, mode = rest.partition(":")
    if not colon or not source or not target:
        context.report.add(node, path, f"{shown(raw)} names no volume and target", FORM)
        return None
    is_path = "/" in source or source.startswith((".", "~"))
    if second and not (is_path and mode == "ro"):
        hint = "files are read-only, volumes are not" if mode in {"rw", "ro"} else FORM
        context.report.add(node, path, f"the option {shown(mode)} is not available", hint)
    return (_file if is_path else _named)(source, target, node, path, context)


def _long(node: MapNode, path: str, context: Context) -> VolumeSpec | None:
    form = "{name: data, target: /data} or {file: ./init.sql, target: /init.sql}"
    for key, (key_node, _) in node.items.items():
        if key not in {"name", "file", "target"}:
            context.report.add(key_node, path, f"unknown key {shown(key)}", form)
    fields = Fields(node, path, context)
    name, file, target = (fields.read(key, text) for key in ("name", "file", "target"))
    if fields.has("name") == fields.has("file") or not fields.has("target"):
        context.report.add(node, path, "must hold either name or file, and target", form)
        return None
    if target is None:
        return None
    if name is not None:
        return _named(name, target, node, path, context)
    return _file(file, target, node, path, context) if file is not None else None


def _named(name: str, target: str, node: Node, path: str, context: Context) -> VolumeSpec | None:
    if not re.fullmatch(VOLUME_NAME, name):
        context.report.add(node, path, f"{shown(name)} is not a volume name", "letters, digits, _ . and -")
        return None
    return VolumeSpec(target, name=name) if _good_target(target, node, path, context) else None


def _file(raw: str, target: str, node: Node, path: str, context: Context) -> VolumeSpec | None:
    good = _good_target(target, node, path, context)
    found = project_path(raw, node, path, context)
    if found is None:
        return None
    if found.is_dir():
        hint = "use a named volume, list single files, or build an image that holds the folder"
        context.report.add(node, path, f"{shown(raw)} is a folder; folders of the host are not mounted", hint)
        return None
    try:
        content = read_text(found, MAX_FILE_BYTES)
    except Unreadable as error:
        context.report.add(node, path, f"{shown(raw)} {error}")
        return None
    relative = found.relative_to(context.root).as_posix()
    return VolumeSpec(posixpath.normpath(target), file=relative, content=content) if good else None


def _good_target(target: str, node: Node, path: str, context: Context) -> bool:
    good = target.startswith("/") and posixpath.normpath(target).strip("/") != "" and "\n" not in target
    if not good:
        context.report.add(node, path, f"the target {shown(target)} is not an absolute path inside the service")
    return good
