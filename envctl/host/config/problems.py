"""What is wrong with a file: collected while it is checked, raised all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from envctl.errors import ConfigInvalid, UnsafeSetting
from envctl.host.config.nodes import Node

MAX_PROBLEMS = 100


class TooMany(Exception):
    """Enough problems were found; the rest of the file is not looked at."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: where it is, which setting it is about, what is wrong, and what would be right."""

    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    unsafe: bool = False

    def text(self, file: str) -> str:
        """The line people see, in the form editors and CI systems make clickable."""
        path = shown(self.path, 200)[1:-1]
        where = f"{file}:{self.line}:{self.column}: " + (f"{path}: " if path else "")
        return where + self.message + (f" ({self.hint})" if self.hint else "")


@dataclass(slots=True, eq=False, repr=False)
class Report:
    """The problems of one file.

    Attributes:
        file: The file's absolute path.
        shown: Its name in messages.
        problems: What was found so far, in the order it was found.
    """

    file: Path
    shown: str
    problems: list[Problem] = field(default_factory=list)
    _unknown: set[int] = field(default_factory=set)

    def ignore(self, node: Node) -> None:
        """Silences what would be said about `node` from here on: its value is unknown, for a reason already noted."""
        self._unknown.add(id(node))

    def add(self, node: Node, path: str, message: str, hint: str | None = None, *, unsafe: bool = False) -> None:
        """Notes a problem at `node`. The same one met again through an alias is noted once.

        Raises:
            TooMany: There are enough.
        """
        if id(node) in self._unknown:
            return
        problem = Problem(node.line, node.column, path, message, hint, unsafe)
        if problem not in self.problems:
            self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise TooMany

    def raise_all(self, extra: Iterable[str] = ()) -> None:
        """Raises what was found, in the file's order; does nothing where nothing was.

        Args:
            extra: More lines of evidence, such as the line of the file with a mark below it.

        Raises:
            UnsafeSetting: All that is wrong is that settings are unsafe.
            ConfigInvalid: Anything else.
        """
        if not self.problems:
            return
        found = sorted(self.problems, key=lambda p: (p.line, p.column))
        unsafe = all(problem.unsafe for problem in found)
        count = f"{len(found)}{' or more' if len(found) >= MAX_PROBLEMS else ''}"
        what = ("unsafe setting" if unsafe else "error") + ("s" if len(found) > 1 else "")
        raise (UnsafeSetting if unsafe else ConfigInvalid)(
            f"{self.shown} has {count} {what}",
            evidence=[*(problem.text(self.shown) for problem in found), *extra],
            fix=[_UNSAFE_FIX if unsafe else _FIX],
            subject={"file": str(self.file), "problems": [_as_dict(problem) for problem in found]},
            state="nothing was created",
        )


_FIX = "correct the lines shown; `envctl schema` prints the JSON Schema with which editors complete and check the file"
_UNSAFE_FIX = "remove the settings shown; named volumes and read-only files of the project are accepted"


def _as_dict(problem: Problem) -> dict[str, object]:
    names = ("line", "column", "path", "message", "hint")
    return {name: getattr(problem, name) for name in names}


def shown(text: str, limit: int = 80) -> str:
    """`text` in double quotes, on one line, without control characters, cut to `limit` characters."""
    body = repr('"' + text[:limit])[2:-1].replace("\\'", "'")
    return f'"{body}{"…" if len(text) > limit else ""}"'


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `word`, or None. Long words are not compared: it takes too long."""
    if len(word) > 40:
        return None
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None
