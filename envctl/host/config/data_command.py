"""A command that shapes data, in `migrate` and `seed`, with the digests of the files it reads.

Digests are of contents: two working trees with the same files are to find the same prepared data.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from envctl.host.config.inputs import files, looked_at, patterns
from envctl.host.config.nodes import ListNode, MapNode, Node
from envctl.host.config.problems import did_you_mean, shown
from envctl.host.config.process import command_line, folder
from envctl.host.config.values import Context, Fields
from envctl.host.digests import Digests
from envctl.model import DataCommand
from envctl.plan.units import format_size

MAX_BYTES = 1024**3
FORM = '{command: "npm run db:migrate", inputs: ["migrations/**"], cwd: ./server}'
KEYS = ("command", "inputs", "cwd")

Found = tuple[tuple[str, str], ...]
"""Path and digest of every file that matches, sorted."""


def migration(node: Node, path: str, context: Context) -> DataCommand | None:
    """`migrate`: a command with its settings, or alone."""
    if isinstance(node, MapNode):
        return data_command(node, path, context)
    if isinstance(node, ListNode):  # in `seed` a list holds steps: that it means words here would be a trap
        context.report.add(node, path, "must be a command or a mapping, not a list", FORM)
        return None
    line = command_line(node, path, context)
    return _made(line, str(context.base), (), (), context) if line else None


def data_command(node: MapNode, path: str, context: Context) -> DataCommand | None:
    """A command with its settings."""
    for key, (key_node, _) in node.items.items():
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or "known: " + ", ".join(KEYS)
            context.report.add(key_node, path, f"unknown key {shown(key)}", hint)
    fields = Fields(node, path, context)
    if not fields.has("command"):
        context.report.add(node, path, "names no command", FORM)
    line = fields.read("command", command_line)
    where = fields.read("cwd", folder) if fields.has("cwd") else str(context.base)
    inputs = fields.read("inputs", _inputs) if fields.has("inputs") else ((), ())
    return _made(line, where, *inputs, context) if line and where and inputs else None


def _made(line: tuple[str, ...], cwd: str, inputs: tuple[str, ...], found: Found, context: Context) -> DataCommand:
    return DataCommand(line, cwd, inputs, found, Path(cwd).relative_to(context.root).as_posix())


def _inputs(node: Node, path: str, context: Context) -> tuple[tuple[str, ...], Found] | None:
    """The patterns, and the files they match now."""
    given = patterns(node, path, context)
    if not given:
        return None if given is None else ((), ())
    matched = looked_at(node, path, context, lambda: dict(sorted(contents(context.root, given))))
    if matched is None:
        return None
    if not matched:  # a slip that would otherwise show late, as data that is never made anew
        context.report.add(node, path, "no file matches", f"looked for from {context.base} on")
        return None
    if (total := sum(matched.values())) > MAX_BYTES:
        message = f"the files that match hold {format_size(total)}; at most {format_size(MAX_BYTES)} are read"
        context.report.add(node, path, message, "name only what the command reads: migrations/*.sql")
        return None
    found = looked_at(node, path, context, lambda: digested(matched, context.digests))
    return None if found is None else (given, found)


def contents(root: Path, given: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Path and size of every file with a content that a pattern matches; without links out of the project.

    Raises:
        TooManyFiles: Too many had to be looked at.
        OSError: A folder cannot be read.
    """
    for name, status, is_link in files(root, given):
        if stat.S_ISREG(status.st_mode) and not (is_link and leads_out(root, name)):
            yield name, status.st_size


def digested(names: Iterable[str], digests: Digests) -> Found:
    """The files with their digests, without those that have just been removed. Raises OSError."""
    found = []
    for name in names:
        with suppress(FileNotFoundError):
            found.append((name, digests.of(name)))
    return tuple(found)


def leads_out(root: Path, name: str) -> bool:
    """Whether a path inside the project leads to something outside."""
    return not Path(os.path.realpath(root / name)).is_relative_to(root)
