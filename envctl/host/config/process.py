"""`process`: a program of the repository, and the settings only such a service has."""

from __future__ import annotations

from collections.abc import Mapping

from envctl.host.config.inside import project_path
from envctl.host.config.nodes import ListNode, Node
from envctl.host.config.problems import shown
from envctl.host.config.values import Context, Fields, text, words
from envctl.model import ProcessSpec

FORM = '"npm run start:test" or [node, server.js]'
SHELL = ("/bin/sh", "-c")

# Those that programs take as a request to end, and the one they cannot refuse.
SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL")

ONLY_WITH_PROCESS = {
    "cwd": "an image runs in the folder it says itself",
    "stop_signal": "an image says itself which signal ends it",
    "inputs": "files that an image is built from are found by themselves",
}
NOT_WITH_PROCESS: Mapping[str, str] = {
    "image": "keep one",
    "build": "keep one",
    "command": "keep one; arguments stand in process",
    "volumes": "remove volumes; a process sees the files where they are",
    "memory": "remove memory; that of a process cannot be limited",
    "pull": "remove pull; a process has no image",
    "persist": "remove persist; what a process writes is the repository's own and stays",
}


def process(fields: Fields) -> ProcessSpec | None:
    """The process a service runs, or None where it runs none (or its command is wrong)."""
    report, items = fields.context.report, fields.node.items
    if not fields.has("process"):
        for key in [key for key in ONLY_WITH_PROCESS if key in items]:
            hint = f"give process, or remove {key}: {ONLY_WITH_PROCESS[key]}"
            if key != "stop_signal" and (fields.has("migrate") or fields.has("seed")):
                hint = f"that of a command stands beside it: {{command: …, {key}: …}}"
            report.add(items[key][0], fields.path, f"{shown(key)} is a setting of services with process", hint)
        return None
    for key in [key for key in NOT_WITH_PROCESS if key in items]:
        report.add(items[key][0], fields.path, f"has both process and {key}", NOT_WITH_PROCESS[key])
    command = fields.read("process", command_line)
    cwd = fields.read("cwd", folder)
    signal = fields.read("stop_signal", _signal)
    if fields.has("inputs"):
        from envctl.host.config.inputs import inputs

        patterns, mark = fields.read("inputs", inputs) or ((), "")
    else:
        patterns, mark = (), ""
    if command is None:
        return None
    return ProcessSpec(command, cwd or str(fields.context.base), signal or SIGNALS[0], patterns, mark)


def command_line(node: Node, path: str, context: Context) -> tuple[str, ...] | None:
    """Text is a line for the shell, so that `&&`, quotes and `$PORT` mean what they mean in a script; a list is not."""
    if isinstance(node, ListNode):
        return words(node, path, context)
    line = text(node, path, context)
    if line is not None and not line.strip():
        context.report.add(node, path, "names no program", FORM)
        return None
    return None if line is None else (*SHELL, line)


def folder(node: Node, path: str, context: Context) -> str | None:
    """The absolute path of a folder inside the project."""
    raw = text(node, path, context)
    found = project_path(raw, node, path, context) if raw else None
    if found is not None and not found.is_dir():
        context.report.add(node, path, f"{shown(raw or '')} is not a folder", "such as ./server")
        return None
    return None if found is None else str(found)


def _signal(node: Node, path: str, context: Context) -> str | None:
    raw = text(node, path, context)
    if raw is None:
        return None
    name = raw if raw.startswith("SIG") else f"SIG{raw}"
    if name in SIGNALS:
        return name
    context.report.add(node, path, f"{shown(raw)} is not allowed", "one of " + ", ".join(SIGNALS))
    return None
