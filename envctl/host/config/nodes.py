"""A YAML text as a tree of nodes that know their line and column.

Built from the parser's events with our own bounds, so that no input can cost more than a moment: aliases share nodes
and their expanded size is only counted, nesting ends at a fixed depth, tags construct nothing. Plain values follow YAML
1.2's core schema, as editors have it (`on`, `no` and `22:22` are text).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

MAX_NODES = 20_000
MAX_DEPTH = 40

ScalarType = Literal["null", "boolean", "integer", "number", "text"]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlError(Exception):
    """The text cannot be read as YAML at all, so nothing below can be checked."""

    def __init__(self, message: str, line: int = 1, column: int = 1, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.hint = message, line, column, hint


# Only __init__ is generated: the other methods have no use here and cost import time.
@dataclass(slots=True, eq=False, repr=False)
class ScalarNode:
    """One value. `plain` is false for quoted and block text; `expanded` is true once a variable was put in."""

    line: int
    column: int
    text: str
    plain: bool = False
    expanded: bool = False
    size: int = 1
    height: int = 0

    @property
    def type(self) -> ScalarType:
        """What YAML 1.2 takes the value for."""
        if not (self.plain or self.expanded):
            return "text"
        if self.text in _NULL:
            return "text" if self.expanded else "null"
        if self.text in _BOOLEAN:
            return "boolean"
        if _INTEGER.fullmatch(self.text):
            return "integer"
        return "number" if _FLOAT.fullmatch(self.text) else "text"


@dataclass(slots=True, eq=False, repr=False)
class ListNode:
    """A sequence."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 0


@dataclass(slots=True, eq=False, repr=False)
class MapNode:
    """A mapping: key text → (the key's own node, value)."""

    line: int
    column: int
    items: dict[str, tuple[ScalarNode, Node]] = field(default_factory=dict)
    flow: bool = False
    size: int = 1
    height: int = 0

    def get(self, key: str) -> Node | None:
        """The value of `key`, or None."""
        found = self.items.get(key)
        return found[1] if found else None


Node = ScalarNode | ListNode | MapNode


def compose(text: str, most_nodes: int = MAX_NODES) -> Node | None:
    """The tree of the one document in `text`, or None where it is empty.

    Args:
        text: The text.
        most_nodes: So many values it may have, counted with aliases expanded.

    Raises:
        YamlError: A syntax error, a duplicate key, a tag, a second document, or more than the bounds allow.
    """
    import yaml

    builder = _Builder(most_nodes)
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            while loader.check_event():
                builder.take(loader.get_event())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from error
    except yaml.reader.ReaderError as error:
        raise _character_error(text) from error
    return builder.root


def plain_data(node: Node | None) -> Any:
    """The tree as dict, list, str, int, float, bool and None, for readers that need no positions."""
    if isinstance(node, MapNode):
        return {key: plain_data(value) for key, (_, value) in node.items.items()}
    if isinstance(node, ListNode):
        return [plain_data(item) for item in node.items]
    if node is None or node.type == "null":
        return None
    if node.type == "boolean":
        return node.text.lower() == "true"
    return int(node.text) if node.type == "integer" and node.text.lstrip("+-").isdecimal() else node.text


class _Builder:
    """Takes events in order and keeps the containers that are still open."""

    def __init__(self, most_nodes: int) -> None:
        self.root: Node | None = None
        self._most_nodes = most_nodes
        self._open: list[ListNode | MapNode] = []
        self._keys: list[ScalarNode | None] = []
        self._anchors: dict[str, Node | None] = {}
        self._names: list[str | None] = []
        self._nodes = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        """Handles one event."""
        handler = getattr(self, "_" + type(event).__name__, None)
        if handler is not None:
            handler(event, event.start_mark.line + 1, event.start_mark.column + 1)

    def _DocumentStartEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - the event's name
        self._documents += 1
        if self._documents > 1:
            raise YamlError("a second document begins here; one file holds one configuration", line, column)

    def _ScalarEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        _refuse_tag(event, line, column)
        plain = not event.style and event.tag is None
        node = ScalarNode(line, column, event.value, plain=plain)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._count(1, line, column)
        self._place(node, line, column)

    def _SequenceStartEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        self._begin(ListNode(line, column), event)

    def _MappingStartEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        self._begin(MapNode(line, column, flow=bool(event.flow_style)), event)

    def _AliasEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        if event.anchor not in self._anchors:
            raise YamlError(f"the alias *{event.anchor[:60]} has no anchor above it", line, column)
        node = self._anchors[event.anchor]
        if node is None:
            raise YamlError(f"the alias *{event.anchor[:60]} is inside its own anchor", line, column)
        self._count(node.size, line, column)
        self._check_depth(node.height, line, column)
        self._place(node, line, column)

    def _SequenceEndEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        self._end()

    def _MappingEndEvent(self, event: Any, line: int, column: int) -> None:  # noqa: N802 - named after PyYAML's events
        self._end()

    def _begin(self, node: ListNode | MapNode, event: Any) -> None:
        _refuse_tag(event, node.line, node.column)
        self._count(1, node.line, node.column)
        self._open.append(node)
        self._keys.append(None)
        self._names.append(event.anchor)
        self._check_depth(0, node.line, node.column)
        if event.anchor:
            self._anchors[event.anchor] = None

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        if isinstance(node, MapNode):
            _merge(node)
        name = self._names.pop()
        if name:
            self._anchors[name] = node
        self._place(node, node.line, node.column)

    def _place(self, node: Node, line: int, column: int) -> None:
        """Puts a finished node where it belongs; an alias stands at its own line, not at its anchor's."""
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent, ListNode):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = _checked_key(parent, node, line, column)
        else:
            parent.items[key.text] = (key, node)
            self._keys[-1] = None

    def _count(self, nodes: int, line: int, column: int) -> None:
        self._nodes += nodes
        if self._nodes > self._most_nodes:
            raise YamlError(f"more than {self._most_nodes} values, counted with aliases expanded", line, column)

    def _check_depth(self, below: int, line: int, column: int) -> None:
        if len(self._open) + below > MAX_DEPTH:
            raise YamlError(f"nested deeper than {MAX_DEPTH} levels", line, column)


def _checked_key(parent: MapNode, node: Node, line: int, column: int) -> ScalarNode:
    if not isinstance(node, ScalarNode):
        raise YamlError("a key must be text", line, column, 'text that begins with "{" or "[" needs quotes')
    if node.text in parent.items:
        first = parent.items[node.text][0].line
        raise YamlError(f"the key {node.text[:60]!r} is there twice; first on line {first}", line, column)
    return ScalarNode(line, column, node.text, plain=node.plain)


def _refuse_tag(event: Any, line: int, column: int) -> None:
    """Only `!` and `!!str`, which mean "this is text", are harmless; every other tag asks to construct something."""
    if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
        raise YamlError(f"the tag {event.tag[:60]!r} is not allowed", line, column, "tags are never needed here")


def _merge(node: MapNode) -> None:
    """Resolves `<<: *anchor` and `<<: [*a, *b]`: the mapping's own keys win, then earlier mappings."""
    found = node.items.get("<<")
    if found is None or not found[0].plain:
        return
    del node.items["<<"]
    value = found[1]
    for source in value.items if isinstance(value, ListNode) else [value]:
        if not isinstance(source, MapNode):
            raise YamlError("`<<` merges mappings only", found[0].line, found[0].column)
        for key, pair in source.items.items():
            node.items.setdefault(key, pair)


def _syntax_error(error: Any, text: str) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
    shown = lines[line - 1] if line <= len(lines) else ""
    hint = "indent with spaces; YAML allows no tabs there" if "\t" in shown[: column + 1] else None
    message = error.problem or "not valid YAML"
    if error.context and error.context_mark and error.context_mark.line != line - 1:
        message += f", {error.context} that begins on line {error.context_mark.line + 1}"
    return YamlError(message, line, column, hint)


def _character_error(text: str) -> YamlError:
    """The parser names a wrong character by its offset only."""
    found = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    at = found.start() if found else 0
    before = text[:at]
    line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
    shown = f"the character U+{ord(text[at]):04X}" if found else "a character"
    return YamlError(f"{shown} is not allowed in YAML", line, column)
