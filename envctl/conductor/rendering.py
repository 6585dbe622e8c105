"""A Compose document as YAML, for people and for plain `docker compose`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envctl.plan import secrets
from envctl.plan.steps import Plan

_HOW = """\
# Made by `envctl render`. Try it with: docker compose -f THIS_FILE up
"""
_LEFT_OUT = """\
# Not in this file, since they run as processes of this machine:
"""
_NEEDS = """\
# The secrets are not in this file: Compose takes them from these variables (envctl render --secrets puts them in).
"""


def as_yaml(plan: Plan, credentials: Mapping[str, Mapping[str, str]], *, inline: bool) -> str:
    """The plan's Compose document as YAML.

    Args:
        plan: The plan; what it runs as processes is named in a comment.
        credentials: The stack's secrets.
        inline: Whether the secrets stand in the text, as configs, which is all Compose takes inline; otherwise the
            text says which variables it needs.
    """
    import yaml

    values = secrets.environment({name: own for name, own in credentials.items() if name not in plan.processes})
    shown: Any = _inlined(plan.document, values) if inline else plan.document
    how = _HOW + (_LEFT_OUT + f"#   {', '.join(plan.processes)}\n" if plan.processes else "")
    needs = "" if inline else _NEEDS + "".join(f"#   {name}\n" for name in sorted(values))
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return how + needs + str(yaml.dump(shown, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def _inlined(document: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Secrets become configs with their content; references to variables become the values."""
    result: dict[str, Any] = _filled({key: part for key, part in document.items() if key != "secrets"}, values)
    contents = {name: {"content": values[how["environment"]]} for name, how in document.get("secrets", {}).items()}
    if contents:
        result["configs"] = {**result.get("configs", {}), **contents}
    for service in result["services"].values():
        used = service.pop("secrets", [])
        mounts = [{"source": name, "target": f"/run/secrets/{name}"} for name in used]
        if mounts:
            service["configs"] = [*service.get("configs", []), *mounts]
    return result


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, secret in values.items():
            value = value.replace("${" + name + "}", secret)
        return value
    if isinstance(value, Mapping):
        return {key: _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    return value
