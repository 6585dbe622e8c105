"""`inputs`: files that a process or a command depends on, as patterns, and what tells that one of them changed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from envctl.host.config.build import MAX_FILES, TooManyFiles
from envctl.host.config.nodes import Node
from envctl.host.config.patterns import MAGIC, Matcher
from envctl.host.config.problems import shown
from envctl.host.config.values import Context, items, text

T = TypeVar("T")

MAX_PATTERNS = 50
MAX_PATTERN = 200
FORM = 'patterns such as ["src/**", "package.json"]'


def inputs(node: Node, path: str, context: Context) -> tuple[tuple[str, ...], str] | None:
    """The patterns, and the fingerprint of what they match now."""
    found = patterns(node, path, context)
    if not found:
        return None if found is None else ((), "")
    mark = looked_at(node, path, context, lambda: fingerprint(context.root, found))
    return None if mark is None else (found, mark)


def patterns(node: Node, path: str, context: Context) -> tuple[str, ...] | None:
    """The patterns alone, in their plain form, each once; none at all where one of them is wrong."""
    found = items(node, path, context, FORM)
    if found is None:
        return None
    if len(found) > MAX_PATTERNS:
        context.report.add(node, path, f"more than {MAX_PATTERNS} patterns", "src/** is everything below src")
        return None
    read = [pattern(item, f"{path}[{number}]", context) for number, item in enumerate(found)]
    return () if None in read else tuple(dict.fromkeys(plain for plain in read if plain))


def looked_at(node: Node, path: str, context: Context, look: Callable[[], T]) -> T | None:
    """What `look` finds in the tree, or None where it is too much or cannot be seen."""
    try:
        return look()
    except TooManyFiles:
        hint = "begin them with a folder: src/**"
        context.report.add(node, path, f"more than {MAX_FILES} files have to be looked at for these patterns", hint)
    except OSError as error:
        context.report.add(node, path, f"cannot be looked at: {error.strerror}: {shown(str(error.filename))}")
    return None


def fingerprint(root: Path, patterns: Sequence[str]) -> str:
    """SHA-256 (hex) over path, size, time and mode of every file that a pattern matches; contents are not read.

    Raises:
        TooManyFiles: More than 50 000 files and folders had to be looked at.
        OSError: A folder cannot be read.
    """
    import hashlib

    digest = hashlib.sha256()
    for line in sorted(_line(name, status) for name, status, _ in files(root, patterns)):
        digest.update(line)
    return digest.hexdigest()


def _line(name: str, status: os.stat_result) -> bytes:
    return b"%s\0%d\0%d\0%o\n" % (os.fsencode(name), status.st_size, status.st_mtime_ns, status.st_mode)


def files(root: Path, patterns: Sequence[str]) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Every file that a pattern matches, in no order: its path from the root, its status, and whether it is a link.

    Folders that cannot hold a match are not entered. Links to folders are not followed, so nothing outside of the
    project is looked into and no loop is endless; a link to a file counts as that file.

    Args:
        root: The project's root.
        patterns: As `inputs` gives them. `**` is any number of folders, or at the end everything below; `*`, `?` and
            `[abc]` match within a name. Only a pattern that says the name itself matches in `.git`, `node_modules`,
            `__pycache__` and `.venv`.

    Raises:
        TooManyFiles: More than 50 000 files and folders had to be looked at.
        OSError: A folder cannot be read.
    """
    matcher = Matcher(patterns)
    begin = len(os.fspath(root).rstrip("/")) + 1
    waiting, count = [(os.fspath(root), matcher.start)], 0
    while waiting:
        folder, places = waiting.pop()
        for entry in _entries(folder):
            count += 1
            if count > MAX_FILES:
                raise TooManyFiles
            reached = matcher.step(places, entry.name)
            if not reached:
                continue
            if entry.is_dir(follow_symlinks=False):
                if further := reached - matcher.ends:
                    waiting.append((entry.path, further))
            elif reached & matcher.ends and (status := _status(entry)):
                yield entry.path[begin:], status, entry.is_symlink()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing where it has just been removed: people and tools work in this tree."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return list(entries)
    return []


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """A file's status, a link's own where it leads nowhere or round in a circle; None where it has just gone."""
    for follow in (True, False):
        with suppress(OSError):
            return entry.stat(follow_symlinks=follow)
    return None


def pattern(node: Node, path: str, context: Context) -> str | None:
    """One pattern from the project's root on, in its plain form: a folder is everything below it."""
    raw = text(node, path, context)
    if raw is None:
        return None
    segments = None if raw.startswith(("/", "~")) else from_root(raw, context)
    if segments is None:
        hint = "only files inside the project are used"
        context.report.add(node, path, f"{shown(raw)} leads out of the project", hint, unsafe=True)
        return None
    if problem := _not_a_pattern(raw, segments):
        context.report.add(node, path, f"{shown(raw)}: {problem[0]}", problem[1])
        return None
    plain = "/".join(segments)
    is_folder = raw.endswith("/") or (not MAGIC.search(plain) and (context.root / plain).is_dir())
    return "/".join([*segments, "**"]) if is_folder else plain


def from_root(raw: str, context: Context) -> list[str] | None:
    """The segments of a path or pattern, put after those of the file's folder, or None where it leads out."""
    found = [MAGIC.sub(r"[\g<0>]", name) for name in context.base.relative_to(context.root).parts]
    for segment in raw.split("/"):
        if segment == "..":
            if not found:
                return None
            found.pop()
        elif segment not in ("", "."):
            found.append(segment)
    return found


def _not_a_pattern(raw: str, segments: Sequence[str]) -> tuple[str, str] | None:
    if len(raw) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters", FORM
    if raw.startswith("!"):
        return "a pattern cannot take files away again", "name what counts: src/**"
    if re.search(r"\{.*\}", raw):
        return "alternatives in braces are not available", "write one pattern for each"
    if any("**" in segment and segment != "**" for segment in segments):
        return '"**" stands alone between slashes', "such as src/**/*.js"
    return None
