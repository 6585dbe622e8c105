"""Patterns of file names, matched along a tree: one name at a time, so that what cannot match is never entered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from envctl.host.config.build import IGNORED

MAGIC = re.compile(r"[*?\[]")

_ANY = None  # `**`: any folders, or none

Segment = str | re.Pattern[str] | None
Place = tuple[int, int]
"""Where in which pattern a path has come to: (number of the pattern, number of its next segment)."""
Places = frozenset[Place]


class _Moves(NamedTuple):
    """What the next name leads to: for a name that a pattern says, for one that passes a test, for any."""

    named: Mapping[str, Sequence[Place]]
    tested: Sequence[tuple[re.Pattern[str], Place]]
    always: Places


class Matcher:
    """All patterns at once, one name of a path at a time.

    Attributes:
        start: Where they are before the first name.
        ends: A path that has come to one of these is matched.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_compiled(pattern) for pattern in patterns]
        self._moves: dict[Places, _Moves] = {}
        self.start = self._with_skips((number, 0) for number in range(len(patterns)))
        self.ends = frozenset((number, len(pattern)) for number, pattern in enumerate(self._patterns))

    def step(self, places: Places, name: str) -> Places:
        """Where the patterns have come to with one more name; empty where none can match any more."""
        moves = self._moves.get(places) or self._moves_from(places)
        named = moves.named.get(name)
        if name in IGNORED:
            return self._with_skips(named) if named else frozenset()
        if not named and not moves.tested:
            return moves.always
        after = [place for test, place in moves.tested if test.fullmatch(name)]
        return moves.always | self._with_skips([*(named or ()), *after])

    def _moves_from(self, places: Places) -> _Moves:
        named: dict[str, list[Place]] = {}
        tested, always = [], []
        for number, at in places - self.ends:
            segment = self._patterns[number][at]
            if segment is _ANY:
                always.append((number, at))
            elif isinstance(segment, str):
                named.setdefault(segment, []).append((number, at + 1))
            else:
                tested.append((segment, (number, at + 1)))
        self._moves[places] = moves = _Moves(named, tested, self._with_skips(always))
        return moves

    def _with_skips(self, places: Iterable[Place]) -> Places:
        """`**` may also stand for nothing. There are never two in a row, so one step is enough."""
        found = set(places)
        skipped = {(number, at + 1) for number, at in found if self._patterns[number][at : at + 1] == [_ANY]}
        return frozenset(found | skipped)


def _compiled(pattern: str) -> list[Segment]:
    import fnmatch
    import warnings

    found: list[Segment] = []
    for segment in pattern.split("/"):
        if segment == "**":
            if found[-1:] != [_ANY]:
                found.append(_ANY)
        elif MAGIC.search(segment):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a set that Python would only warn about is accepted
                found.append(re.compile(fnmatch.translate(segment)))
        else:
            found.append(segment)
    return found
