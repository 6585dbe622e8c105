"""`seed`: the files and commands that fill a service, in their order."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from envctl.host.config.data_command import FORM as COMMAND_FORM
from envctl.host.config.data_command import data_command, leads_out
from envctl.host.config.inputs import files, from_root, looked_at, pattern
from envctl.host.config.inside import project_path
from envctl.host.config.nodes import ListNode, MapNode, Node
from envctl.host.config.patterns import MAGIC
from envctl.host.config.problems import shown
from envctl.host.config.values import Context, text
from envctl.kinds.base import Kind
from envctl.model import SeedFile, SeedStep
from envctl.plan.units import format_size

MAX_STEPS = 200
MAX_BYTES = 16 * 1024**3
FORM = '[db/schema.sql, fixtures/*.csv, {command: "npm run db:seed"}]'


class Taken(NamedTuple):
    """The files a service takes.

    Attributes:
        suffixes: How their names end.
        why_none: Why it takes none at all, or "".
    """

    suffixes: tuple[str, ...]
    why_none: str = ""


def taken_by(kind: Kind, *, is_process: bool) -> Taken:
    """What a service of this kind takes."""
    if is_process:
        return Taken((), "a service with process is seeded by commands only")
    return Taken(kind.seeds, "" if kind.seeds else f"a {kind.name} service is seeded by commands only")


def seed(node: Node, path: str, context: Context, taken: Taken) -> tuple[SeedStep, ...] | None:
    """All steps. A file that is named by its path counts each time; one that a pattern brings in again does not."""
    given = node.items if isinstance(node, ListNode) else [node]
    if len(given) > MAX_STEPS:
        context.report.add(node, path, f"more than {MAX_STEPS} steps", "a pattern is all its files: fixtures/*.sql")
        return None
    steps: list[SeedStep] = []
    for number, item in enumerate(given):
        at = f"{path}[{number}]" if isinstance(node, ListNode) else path
        if isinstance(item, MapNode):
            step = data_command(item, at, context)
            steps += [step] if step else []
        elif isinstance(item, ListNode):
            context.report.add(item, at, "must be a file or a command, not a list", FORM)
        elif raw := text(item, at, context):
            named = {step.path for step in steps if isinstance(step, SeedFile)}
            steps += _files(raw, named, taken, item, at, context)
    return tuple(steps)


def _files(raw: str, named: set[str], taken: Taken, node: Node, path: str, context: Context) -> list[SeedFile]:
    if taken.why_none:
        hint = f"a command is written {{command: {shown(raw)}}}" if " " in raw else COMMAND_FORM
        context.report.add(node, path, taken.why_none, hint)
        return []
    if MAGIC.search(raw) and not os.path.lexists(context.base / raw):
        names = [name for name in _matched(raw, node, path, context) if name not in named]
    else:
        names = _named(raw, taken, node, path, context)
    wrong = [name for name in names if not name.lower().endswith(taken.suffixes)]
    if wrong:
        hint = f"{' and '.join(taken.suffixes)} are; for anything else give a command"
        context.report.add(node, path, f"{shown(wrong[0])} is no file that such a service takes", hint)
        return []
    return _with_digests(names, node, path, context)


def _named(raw: str, taken: Taken, node: Node, path: str, context: Context) -> list[str]:
    """One file, called as it is written: not what a link leads to."""
    if " " in raw and not os.path.lexists(context.base / raw):
        hint = f"a command is written {{command: {shown(raw)}}}"
        context.report.add(node, path, f"there is no file {shown(raw)}", hint)
        return []
    found = project_path(raw, node, path, context)
    if found is None:
        return []
    if found.is_dir():
        hint = f"say which files: {raw.rstrip('/')}/*{taken.suffixes[0]}"
        context.report.add(node, path, f"{shown(raw)} is a folder", hint)
        return []
    if not found.is_file():
        context.report.add(node, path, f"{shown(raw)} is not a regular file")
        return []
    written = "/".join(from_root(raw, context) or ())
    if written and Path(os.path.realpath(context.root / written)) == found:
        return [written]
    return [found.relative_to(context.root).as_posix()]


def _matched(raw: str, node: Node, path: str, context: Context) -> list[str]:
    """The files that a pattern matches, sorted; not those that editors and systems hide (`.#a.sql`, `._a.sql`)."""
    plain = pattern(node, path, context)
    if plain is None:
        return []
    found = looked_at(node, path, context, lambda: sorted(files(context.root, [plain])))
    if found is None:
        return []
    hidden_too = plain.rpartition("/")[2].startswith(".")
    names = [
        name
        for name, status, _ in found
        if stat.S_ISREG(status.st_mode) and (hidden_too or not name.rpartition("/")[2].startswith("."))
    ]
    links = {name for name, _, is_link in found if is_link}
    outside = next((name for name in names if name in links and leads_out(context.root, name)), None)
    if outside:
        hint = "only files inside the project are used"
        context.report.add(node, path, f"{shown(outside)} leads out of the project", hint, unsafe=True)
        return []
    if not names:
        context.report.add(node, path, f"no file matches {shown(raw)}", f"looked for in {context.base}")
    return names


def _with_digests(names: Sequence[str], node: Node, path: str, context: Context) -> list[SeedFile]:
    made = []
    total = 0
    for name in names:
        try:
            total += (context.root / name).stat().st_size
            if total <= MAX_BYTES:
                made.append(SeedFile(name, context.digests.of(name)))
        except OSError as error:
            context.report.add(node, path, f"{shown(name)} cannot be read: {error.strerror}")
    if total > MAX_BYTES:
        message = f"the files hold {format_size(total)}, more than {format_size(MAX_BYTES)}"
        context.report.add(node, path, message, "bring in that much by a command")
    return made
