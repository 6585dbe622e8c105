"""The JSON Schema of `envctl.yaml`, for editors: made from the same table of keys the checker uses.

What a schema cannot say (that a file exists, that `depends_on` names a service, that a variable is set) only `load`
checks.
"""

from __future__ import annotations

from typing import Any

from envctl import kinds
from envctl.host.config.keys import DATA_COMMAND, SERVICE, SERVICE_NAME, TOP, Schema, matching, seed_of
from envctl.host.config.ports import AUTO
from envctl.host.config.process import NOT_WITH_PROCESS, ONLY_WITH_PROCESS
from envctl.host.config.services import OFFICIAL_IMAGES
from envctl.kinds.base import Kind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, as a value for `json.dumps`."""
    names = kinds.names()
    definitions = {f"kind_{name}": _of_kind(kinds.get(name)) for name in names}
    definitions |= {f"named_{name}": _named(name) for name in names if name != kinds.GENERIC}
    return {
        "$schema": _DIALECT,
        "title": "envctl.yaml",
        "description": "The services a repository's tests need.",
        "type": ["object", "null"],
        "properties": {name: {**key.schema, "description": key.description} for name, key in TOP.items()}
        | {"services": _services()},
        "patternProperties": {"^x-": {"description": "Free for anchors."}},
        "additionalProperties": False,
        "$defs": {**definitions, "other": _other()},
    }


def _services() -> Schema:
    named = [name for name in kinds.names() if name != kinds.GENERIC]
    return {
        "description": TOP["services"].description,
        "type": "object",
        "minProperties": 1,
        "properties": {name: {"$ref": f"#/$defs/named_{name}"} for name in named},
        "patternProperties": {f"^(?!(?:{'|'.join(named)})$){SERVICE_NAME}$": {"$ref": "#/$defs/other"}},
        "propertyNames": {"pattern": f"^{SERVICE_NAME}$"},
        "additionalProperties": False,
    }


def _of_kind(kind: Kind) -> Schema:
    """A service of one kind: the common keys and the kind's own."""
    properties: dict[str, Schema] = {
        name: {**key.schema, "description": key.description} for name, key in SERVICE.items()
    }
    properties["kind"] = {"enum": list(kinds.names()), "description": SERVICE["kind"].description}
    if not kind.seeds:
        properties["seed"] = {**seed_of(DATA_COMMAND), "description": SERVICE["seed"].description}
    strategies = matching("|".join(kind.resets)) if kind.resets else {"not": {}}
    properties["reset"] = {**strategies, "description": SERVICE["reset"].description}
    if kind.image:
        properties["image"] = {**properties["image"], "default": kind.image}
    for name, option in kind.options.items():
        text = {**matching(option.pattern), "default": option.default}
        numeric = any(_fits(option.pattern, number) for number in ("0", "10"))
        either: Schema = {"anyOf": [text, {"type": "integer", "minimum": 0}]} if numeric else text
        properties[name] = {**either, "description": option.description}
    schema: Schema = {
        "type": "object",
        "description": kind.summary,
        "properties": properties,
        "additionalProperties": False,
        "not": {"anyOf": [{"required": ["image", "build"]}, {"required": ["pull", "build"]}]},
        **_with_process(),
    }
    if kind.image is None and not kind.bundled:
        schema["anyOf"] = [{"required": [source]} for source in ("image", "build", "process")]
    return schema


def _with_process() -> Schema:
    """What goes with `process` only, and what does not go with it."""
    not_auto: Schema = {"not": {"const": AUTO}}
    without: Schema = {"properties": {"port": not_auto, "ports": {"additionalProperties": not_auto}}}
    forbidden = [{"required": [key]} for key in NOT_WITH_PROCESS]
    return {
        "dependentRequired": {key: ["process"] for key in ONLY_WITH_PROCESS},
        "if": {"required": ["process"]},
        "then": {"not": {"anyOf": forbidden}},
        "else": without,
    }


def _fits(pattern: str, text: str) -> bool:
    import re

    return re.fullmatch(pattern, text) is not None


def _named(name: str) -> Schema:
    """A service with a kind's name: of that kind, unless it says another one; nothing at all is fine too."""
    return {"if": {"type": "null"}, "then": True, "else": _by_kind({"$ref": f"#/$defs/kind_{name}"})}


def _other() -> Schema:
    """A service with a name of its own: the kind it says, else that of an official image, else generic."""
    otherwise: Schema = {"$ref": f"#/$defs/kind_{kinds.GENERIC}"}
    for image, kind in OFFICIAL_IMAGES.items():
        official: Schema = {
            "required": ["image"],
            "properties": {"image": {"pattern": f"^(docker\\.io/)?(library/)?{image}([:@].*)?$", "type": "string"}},
            "not": {"anyOf": [{"required": ["ports"]}, {"required": ["ready"]}]},
        }
        otherwise = {"if": official, "then": {"$ref": f"#/$defs/kind_{kind}"}, "else": otherwise}
    return _by_kind(otherwise)


def _by_kind(otherwise: Schema) -> Schema:
    for name in kinds.names():
        is_kind = {"type": "object", "required": ["kind"], "properties": {"kind": {"const": name}}}
        otherwise = {"if": is_kind, "then": {"$ref": f"#/$defs/kind_{name}"}, "else": otherwise}
    return otherwise
