"""Drafts of services for a first `envctl.yaml`, and how they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Draft:
    """A service as it will be written.

    Attributes:
        name: Its name.
        kind: The kind it will be of.
        found: Where it was seen.
        settings: Key → value (text, numbers, lists, mappings of text).
        notes: What was not carried over, and why.
        suggestions: Settings that stand in a comment, with what they were seen by.
    """

    name: str
    kind: str
    found: str
    settings: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    suggestions: list[tuple[str, object, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The service's lines, with comments."""
        body = [f"    {key}: {flow(value)}" for key, value in self.settings.items()]
        if self.suggestions:
            body.append("    # What may fill it with data: remove the # in front of what is right.")
        body += [f"    # {key}: {flow(value)}   # {comment(found)}" for key, value, found in self.suggestions]
        head = f"  {self.name}:" if body else f"  {self.name}: {{}}"
        return [
            f"  # {comment(self.found)}",
            *(f"  # not carried over: {comment(note)}" for note in self.notes),
            head,
            *body,
        ]


def flow(value: object) -> str:
    """`value` on one line of YAML; text in double quotes, as JSON has it, which YAML shares."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _quoted(str(value).replace("$", "$$"))


def comment(text: str) -> str:
    """`text` as the rest of a comment line: no line break, no control character, not endless."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _key(key: str) -> str:
    """Quoted unless it is a plain name that YAML cannot take for anything else."""
    plain = key.isascii() and key.replace("_", "a").isalnum() and not key[:1].isdigit()
    return key if plain and key.lower() not in {"true", "false", "null", "yes", "no", "on", "off"} else _quoted(key)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)
