"""Reading one value of a known type from its node. A reader notes what is wrong and then returns None."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from envctl.host.config.nodes import ListNode, MapNode, Node, ScalarNode
from envctl.host.config.problems import Report, did_you_mean, shown
from envctl.host.digests import Digests

T = TypeVar("T")

VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# Images such as Elasticsearch are configured by names with dots (`discovery.type`).
ENVIRONMENT_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"


@dataclass(frozen=True, slots=True)
class Context:
    """What readers need beside the node.

    Attributes:
        report: Takes the problems.
        base: The configuration file's folder; paths in the file are relative to it.
        root: The project's root, resolved; nothing outside it is used.
        digests: Of the contents of files below the root.
    """

    report: Report
    base: Path
    root: Path
    digests: Digests


Reader = Callable[[Node, str, Context], T | None]


class Fields:
    """A mapping whose keys are known; each is read once, by the reader of its type."""

    def __init__(self, node: MapNode, path: str, context: Context) -> None:
        self.node, self.path, self.context = node, path, context

    def read(self, key: str, reader: Reader[T]) -> T | None:
        """The value of `key`, or None where it is absent or wrong."""
        value = self.node.get(key)
        return None if value is None else reader(value, f"{self.path}.{key}" if self.path else key, self.context)

    def has(self, key: str) -> bool:
        """Whether the key is there, right or wrong."""
        return key in self.node.items


def described(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    return "nothing" if node.type == "null" else f"{shown(node.text)}"


def text(node: Node, path: str, context: Context) -> str | None:
    """Text that is not empty. A number or a truth value must be quoted, so that YAML keeps it as it is written."""
    if isinstance(node, ScalarNode):
        if node.type == "text" or node.expanded:
            return _clean(node, path, context) or _empty(node, path, context)
        hint = f'write it in quotes: "{node.text}"' if node.type != "null" else None
        context.report.add(node, path, f"must be text, not {described(node)}", hint)
        return None
    context.report.add(node, path, f"must be text, not {described(node)}", _brace_hint(node))
    return None


def loose_text(node: Node, path: str, context: Context) -> str | None:
    """Text, or a number or truth value as YAML has it written (`5432`, `true`); may be empty if quoted."""
    if isinstance(node, ScalarNode) and node.type != "null":
        return _clean(node, path, context)
    hint = _brace_hint(node) or 'an empty text is ""'
    context.report.add(node, path, f"must be text, a number, true or false, not {described(node)}", hint)
    return None


def integer(node: Node, path: str, context: Context) -> int | None:
    """A whole number in decimal digits."""
    if isinstance(node, ScalarNode) and node.type == "integer" and re.fullmatch(r"[-+]?[0-9]{1,18}", node.text):
        return int(node.text)
    context.report.add(node, path, f"must be a whole number, not {described(node)}")
    return None


def boolean(node: Node, path: str, context: Context) -> bool | None:
    """`true` or `false`."""
    if isinstance(node, ScalarNode) and node.type == "boolean":
        return node.text.lower() == "true"
    context.report.add(node, path, f"must be true or false, not {described(node)}")
    return None


def mapping(node: Node, path: str, context: Context, form: str = "") -> MapNode | None:
    """A mapping; `form` shows one where something else was found."""
    if isinstance(node, MapNode):
        return node
    context.report.add(node, path, f"must be a mapping, not {described(node)}", form or None)
    return None


def items(node: Node, path: str, context: Context, form: str = "") -> list[Node] | None:
    """A list's items; `form` shows one where something else was found."""
    if isinstance(node, ListNode):
        return node.items
    context.report.add(node, path, f"must be a list, not {described(node)}", form or None)
    return None


def matching(pattern: str, allowed: str) -> Reader[str]:
    """A reader for text that must match `pattern` as a whole; `allowed` says what is accepted."""
    compiled: list[re.Pattern[str]] = []

    def read(node: Node, path: str, context: Context) -> str | None:
        value = text(node, path, context)
        if value is None:
            return None
        if not compiled:
            compiled.append(re.compile(pattern))
        if compiled[0].fullmatch(value):
            return value
        context.report.add(node, path, f"{shown(value)} is not allowed", allowed)
        return None

    return read


def one_of(allowed: Iterable[str]) -> Reader[str]:
    """A reader for one of a few words."""
    words = tuple(allowed)

    def read(node: Node, path: str, context: Context) -> str | None:
        value = text(node, path, context)
        if value is None or value in words:
            return value
        hint = did_you_mean(value, words) or "one of " + ", ".join(words)
        context.report.add(node, path, f"{shown(value)} is not allowed", hint)
        return None

    return read


def converted(convert: Callable[[str], T], low: T | None = None, high: T | None = None, limits: str = "") -> Reader[T]:
    """A reader for text that `convert` understands (it raises ValueError with the allowed form), within limits."""

    def read(node: Node, path: str, context: Context) -> T | None:
        raw = text(node, path, context)
        if raw is None:
            return None
        try:
            value = convert(raw)
        except ValueError as error:
            context.report.add(node, path, f"{shown(raw)} is {error}")
            return None
        if (low is not None and value < low) or (high is not None and value > high):  # type: ignore[operator]  # numbers, as the caller says
            context.report.add(node, path, f"{shown(raw)} is out of range", limits)
            return None
        return value

    return read


def words(node: Node, path: str, context: Context) -> tuple[str, ...] | None:
    """A command: a text, split as a shell would (nothing is expanded), or a list of words."""
    if isinstance(node, ListNode):
        read = [loose_text(item, f"{path}[{number}]", context) for number, item in enumerate(node.items)]
        found = [word for word in read if word is not None]
    else:
        whole = loose_text(node, path, context)
        if whole is None:
            return None
        import shlex

        try:
            found = shlex.split(whole)
        except ValueError as error:
            context.report.add(node, path, f"cannot be split into words: {str(error).lower()}", "or write a list")
            return None
    if not found or not found[0]:
        context.report.add(node, path, "names no program")
        return None
    return tuple(found)


def pairs(name_pattern: str = ENVIRONMENT_NAME) -> Reader[Mapping[str, str]]:
    """A reader for names with values: a mapping, or a list of `NAME=value`."""

    def read(node: Node, path: str, context: Context) -> Mapping[str, str] | None:
        if isinstance(node, MapNode):
            found = [(key, name, value) for name, (key, value) in node.items.items()]
            return _pairs_of_map(found, path, context, name_pattern)
        if isinstance(node, ListNode):
            return _pairs_of_list(node, path, context, name_pattern)
        context.report.add(node, path, f"must be a mapping, not {described(node)}", "NAME: value")
        return None

    return read


def _pairs_of_map(
    found: list[tuple[ScalarNode, str, Node]], path: str, context: Context, pattern: str
) -> Mapping[str, str]:
    result = {}
    for key, name, node in found:
        if _named(key, name, path, context, pattern):
            if isinstance(node, ScalarNode) and node.type == "null":
                hint = f'"${{{name}}}" takes it from your environment, "" is an empty text'
                context.report.add(node if node.text else key, f"{path}.{name}", "has no value", hint)
            elif (value := loose_text(node, f"{path}.{name}", context)) is not None:
                result[name] = value
    return result


def _pairs_of_list(node: ListNode, path: str, context: Context, pattern: str) -> Mapping[str, str]:
    result: dict[str, str] = {}
    for number, item in enumerate(node.items):
        line = loose_text(item, f"{path}[{number}]", context)
        if line is None:
            continue
        name, equals, value = line.partition("=")
        if not equals:
            context.report.add(item, f"{path}[{number}]", f"{shown(line)} has no value", "write NAME=value")
        elif name in result:
            context.report.add(item, f"{path}[{number}]", f"{shown(name)} is there twice")
        elif _named(item, name, path, context, pattern):
            result[name] = value
    return result


def _named(node: Node, name: str, path: str, context: Context, pattern: str) -> bool:
    if re.fullmatch(pattern, name):
        return True
    if name.startswith("ENVCTL_"):
        context.report.add(node, path, f"{shown(name)}: names that begin with ENVCTL_ are envctl's own")
        return False
    context.report.add(node, path, f"{shown(name)} is not a name", "letters, digits and _, not beginning with a digit")
    return False


def _clean(node: ScalarNode, path: str, context: Context) -> str | None:
    """NUL ends every text in the operating system's hands, and half a character cannot be written anywhere."""
    if "\0" in node.text or any("\ud800" <= c <= "\udfff" for c in node.text):
        context.report.add(node, path, "holds a NUL byte or bytes that are not UTF-8")
        context.report.ignore(node)
        return None
    return node.text


def _empty(node: ScalarNode, path: str, context: Context) -> str | None:
    context.report.add(node, path, "must not be empty")
    return None


def _brace_hint(node: Node) -> str | None:
    """`{postgres.url}` without quotes is a mapping to YAML."""
    if isinstance(node, MapNode) and node.flow and len(node.items) == 1:
        key = next(iter(node.items))
        return f'write it in quotes: "{{{key[:60]}}}"'
    return None
