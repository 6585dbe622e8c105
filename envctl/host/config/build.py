"""`build`: an image made from the repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from envctl.host.config.inside import project_path
from envctl.host.config.nodes import MapNode, Node
from envctl.host.config.problems import did_you_mean, shown
from envctl.host.config.values import VARIABLE_NAME, Context, Fields, matching, pairs, text
from envctl.model import BuildSpec

MAX_FILES = 50_000
FORM = "./server or {context: ./server, dockerfile: Dockerfile, target: stage, args: {NAME: value}}"

# Never part of what a build means, large, and changed by merely running things.
IGNORED = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_KEYS = ("context", "dockerfile", "target", "args")

_stage = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "letters, digits, _ . and -")


class TooManyFiles(Exception):
    """A build context holds more files than are looked at."""


def build(node: Node, path: str, context: Context) -> BuildSpec | None:
    """The build, with the context's fingerprint."""
    if not isinstance(node, MapNode):
        raw = text(node, path, context)
        return _checked(raw, None, {}, node, path, context) if raw else None
    for key, (key_node, _) in node.items.items():
        if key not in _KEYS:
            context.report.add(key_node, path, f"unknown key {shown(key)}", did_you_mean(key, _KEYS) or FORM)
    fields = Fields(node, path, context)
    raw = fields.read("context", text) if fields.has("context") else "."
    target = fields.read("target", _stage)
    args = fields.read("args", pairs(VARIABLE_NAME)) or {}
    dockerfile = fields.read("dockerfile", text)
    if raw is None or (fields.has("dockerfile") and dockerfile is None):
        return None
    extra: dict[str, object] = {"target": target, "args": args}
    return _checked(raw, dockerfile, extra, node, path, context)


def fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over path, size, time and mode of every file; contents are not read, so that it stays quick.

    `.dockerignore` is not applied: at worst an image is built again from the builder's cache.

    Raises:
        TooManyFiles: There are more than 50 000.
    """
    import hashlib

    digest = hashlib.sha256()
    for line in sorted(_lines(folder)):
        digest.update(line)
    return digest.hexdigest()


def _lines(folder: Path) -> Iterator[bytes]:
    waiting, count = [os.fspath(folder)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name in IGNORED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                count += 1
                if count > MAX_FILES:
                    raise TooManyFiles
                status = entry.stat(follow_symlinks=False)
                name = os.fsencode(os.path.relpath(entry.path, folder))
                yield b"%s\0%d\0%d\0%o\n" % (name, status.st_size, status.st_mtime_ns, status.st_mode)


def _checked(
    raw: str, dockerfile: str | None, extra: dict[str, object], node: Node, path: str, context: Context
) -> BuildSpec | None:
    if re.match(r"[a-z]+://|git@", raw):
        context.report.add(node, path, f"{shown(raw)} is not a folder of the project", FORM)
        return None
    folder = project_path(raw, node, path, context)
    if folder is None:
        return None
    if not folder.is_dir():
        context.report.add(node, path, f"{shown(raw)} is not a folder", FORM)
        return None
    if not _has_dockerfile(folder, dockerfile, node, path, context):
        return None
    try:
        mark = fingerprint(folder)
    except TooManyFiles:
        hint = "choose a smaller folder as context"
        context.report.add(node, path, f"{shown(raw)} holds more than {MAX_FILES} files", hint)
        return None
    except OSError as error:
        context.report.add(node, path, f"{shown(raw)} cannot be read: {error.strerror}: {error.filename}")
        return None
    return BuildSpec(str(folder), dockerfile, fingerprint=mark, **extra)  # type: ignore[arg-type]  # each was read as what it is


def _has_dockerfile(folder: Path, dockerfile: str | None, node: Node, path: str, context: Context) -> bool:
    """The Dockerfile is read by the builder, so it too must be inside the project."""
    inside = Context(context.report, folder, context.root, context.digests)
    found = project_path(dockerfile or "Dockerfile", node, path, inside)
    if found is not None and not found.is_file():
        context.report.add(node, path, f"{shown(dockerfile or 'Dockerfile')} is not a file")
    return found is not None and found.is_file()
