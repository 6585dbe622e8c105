"""A file of keys, JSON or YAML, as keys and values that know their line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # there since Python 2.6
from typing import Any, NamedTuple

from envctl.host.config.nodes import MapNode, Node, ScalarNode, YamlError, compose

_MOST_NODES = 10_000_000
_SPACE = re.compile(r"[ \t\n\r]*")
_MAPPING = "keys and their values: {greeting: hello}"


class Misfit(Exception):
    """What is wrong in the file.

    Attributes:
        cause: What.
        line: Where; 0 where it is nowhere in the file.
        key: Of which key, or "".
        fix: What to do about it; "" for what is always to be done.
    """

    def __init__(self, cause: str, line: int = 0, key: str = "", fix: str = "") -> None:
        super().__init__(cause)
        self.cause, self.line, self.key, self.fix = cause, line, key, fix


class Entry(NamedTuple):
    """One key.

    Attributes:
        key: Its name.
        value: Text (numbers too, as they were written), True, False, None, or lists and mappings of these.
        line: Where it stands.
    """

    key: str
    value: Any
    line: int


def entries(content: bytes, *, is_json: bool) -> list[Entry]:
    """The keys of a file, in its order. Raises Misfit."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Misfit("it is not encoded in UTF-8", line, fix="save it in UTF-8; bytes go into {base64: …}") from None
    return list(_of_json(text) if is_json else _of_yaml(text))


def _of_yaml(text: str) -> Iterator[Entry]:
    try:
        root = compose(text, _MOST_NODES)
    except YamlError as error:
        raise Misfit(error.message, error.line, fix=error.hint or "") from None
    if root is None or (isinstance(root, ScalarNode) and root.type == "null"):
        return
    if not isinstance(root, MapNode):
        raise Misfit("it is no mapping", root.line, fix=f"write {_MAPPING}")
    for key, (node, value) in root.items.items():
        yield Entry(key, _plain(value), node.line)


def _plain(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: _plain(value) for key, (_, value) in node.items.items()}
    if isinstance(node, ScalarNode):
        kind = node.type
        return None if kind == "null" else node.text.lower() == "true" if kind == "boolean" else node.text
    return [_plain(item) for item in node.items]


def _of_json(text: str) -> Iterator[Entry]:
    """Read key by key, which tells where each stands and is as quick as the whole at once."""
    try:
        if text.strip():
            yield from _Json(text).entries()
    except json.JSONDecodeError as error:
        raise Misfit(f"it is no JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise Misfit("it is nested too deep") from None


class _Json:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._decode = json.JSONDecoder(
            parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_unique
        ).raw_decode

    def entries(self) -> Iterator[Entry]:
        if not self._take("{"):
            raise Misfit("it is no mapping", self._here(), fix=f"write {_MAPPING}")
        seen: set[str] = set()
        while not self._take("}"):
            if seen and not self._take(","):
                raise json.JSONDecodeError("Expecting ',' delimiter", self._text, self._at)
            self._take("")
            line = self._here()
            if not self._take('"'):
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._at)
            key, self._at = scanstring(self._text, self._at)
            if key in seen:
                raise Misfit("the key is there twice", line, key)
            seen.add(key)
            if not self._take(":"):
                raise json.JSONDecodeError("Expecting ':' delimiter", self._text, self._at)
            self._take("")
            try:
                value, self._at = self._decode(self._text, self._at)
            except _TwiceError as error:
                raise Misfit(f'its field "{error}" is there twice', line, key) from None
            yield Entry(key, value, line)
        self._take("")
        if self._at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)

    def _take(self, mark: str) -> bool:
        """Pass over blanks, and over the mark if it comes next; whether it did."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


class _TwiceError(Exception):
    """A field that is there twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found
