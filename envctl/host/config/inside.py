"""Paths a configuration names: relative to its file, and never outside the project, also not through a link."""

from __future__ import annotations

from pathlib import Path

from envctl.host.config.nodes import Node
from envctl.host.config.problems import shown
from envctl.host.config.values import Context


def project_path(raw: str, node: Node, path: str, context: Context) -> Path | None:
    """The resolved path of `raw`, which must exist inside the project; what is outside is unsafe."""
    try:
        found = (context.base / raw).resolve()
        exists = found.exists()
    except (OSError, ValueError, RuntimeError):  # a loop of links, or a name too long
        context.report.add(node, path, f"{shown(raw)} is not a usable path")
        return None
    if "docker.sock" in raw or found.name == "docker.sock":
        context.report.add(node, path, "hands over the engine's socket, and with it the whole machine", unsafe=True)
    elif raw.startswith("~") or not found.is_relative_to(context.root):
        hint = "only files inside the project are used"
        context.report.add(node, path, f"{shown(raw)} leads out of the project", hint, unsafe=True)
    elif not exists:
        context.report.add(node, path, f"{shown(raw)} does not exist", f"looked for in {context.base}")
    else:
        return found
    return None
