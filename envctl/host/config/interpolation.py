"""`${NAME}` and `${NAME:-default}` in values, from the caller's environment; `$$` is a plain `$`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from envctl.host.config.nodes import ListNode, Node, ScalarNode
from envctl.host.config.problems import Report, shown
from envctl.host.config.source import MAX_BYTES

# A `$` that begins none of the three forms is left alone: `pa$word` and `$HOME` mean themselves.
_FORM = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|(\{))")

# Where a shell or a program reads the text, which may have variables of its own.
_IN_COMMAND = re.compile(r"\.(process|migrate|(migrate|seed(\[\d+\])?)\.command)(\[\d+\])?$")

_MANY = 1000
_SHELL_HINT = 'for the variable a process has there write "${name}" or "$${{{name}}}"; a default is "${{{name}:-…}}"'
_HINT = 'write "${NAME}" or "${NAME:-default}"; "$$" is a plain "$"'


def expand(root: Node | None, environ: Mapping[str, str], report: Report) -> None:
    """Puts the variables into every value below `root`, not into keys; each that is unset is a problem."""
    if root is not None:
        _Expansion(environ, report).walk(root, "")


class _Expansion:
    def __init__(self, environ: Mapping[str, str], report: Report) -> None:
        self._environ = environ
        self._report = report
        self._done: set[int] = set()
        self._left = MAX_BYTES  # the file's own limit, so that few bytes cannot become very many

    def walk(self, node: Node, path: str) -> None:
        if id(node) in self._done:  # shared through an alias
            return
        self._done.add(id(node))
        if isinstance(node, ScalarNode):
            if "$" in node.text:
                self._scalar(node, path)
        elif isinstance(node, ListNode):
            for number, item in enumerate(node.items):
                self.walk(item, f"{path}[{number}]")
        else:
            for key, (_, value) in node.items.items():
                self.walk(value, f"{path}.{key}" if path else key)

    def _scalar(self, node: ScalarNode, path: str) -> None:
        if node.text.count("$") > _MANY:
            self._report.add(node, path, f'more than {_MANY} times "$" in one value')
            self._report.ignore(node)
            return
        problems: list[tuple[str, str]] = []

        def replacement(match: re.Match[str]) -> str:
            dollar, name, default, malformed = match.groups()
            if dollar:
                return "$"
            if malformed:
                problems.append((f'"${{" begins no variable in {shown(match.string)}', _HINT))
                return ""
            return self._value(name, default, problems, path)

        node.text, node.expanded = _FORM.sub(replacement, node.text), True
        for message, hint in problems:
            self._report.add(node, path, message, hint)
        if problems:
            self._report.ignore(node)

    def _value(self, name: str, default: str | None, problems: list[tuple[str, str]], path: str) -> str:
        value = self._environ.get(name)
        if default is not None:
            value = value or default  # as in shells and Compose: `:-` also replaces an empty value
        if value is None:
            hint = (
                _SHELL_HINT.format(name=name)
                if _IN_COMMAND.search(path)
                else f'set it, or give a default: "${{{name}:-…}}"'
            )
            problems.append((f"the variable {name} is not set", hint))
            return ""
        self._left -= len(value)
        if self._left < 0:
            problems.append((f"with the variable {name} the values exceed {MAX_BYTES // 1024} KiB", _HINT))
            return ""
        return value
