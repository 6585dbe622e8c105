"""Drafts from an existing Compose file: what means the same here is carried over, the rest is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envctl.host.config.drafts import Draft
from envctl.host.config.keys import UNSAFE
from envctl.host.config.nodes import YamlError, compose, plain_data
from envctl.host.config.services import kind_of_image
from envctl.host.config.source import Unreadable, read_text
from envctl.kinds import GENERIC, get
from envctl.kinds import names as kind_names

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")

# Postgres with extensions, built on the official image and keeping its contract.
_FIRST_START = "/docker-entrypoint-initdb.d"  # what official images run when their data folder is empty
_POSTGRES_LIKE = re.compile(r"(docker\.io/)?(postgis/postgis|pgvector/pgvector|timescale/timescaledb)(:.*)?")
_URL = re.compile(r"(?:postgres(?:ql)?|rediss?)(?:\+\w+)?://(?:[^@/\s]*@)?([A-Za-z0-9_-]+)(?::\d+)?(?:/\S*)?")
_WEB = {80, 3000, 4000, 5000, 8000, 8025, 8080, 8081, 9000, 9200}


def drafts(root: Path) -> tuple[list[Draft], list[str]]:
    """The services of the repository's Compose file, in its order, and notes about the file."""
    for name in FILES:
        try:
            document = plain_data(compose(read_text(root / name)))
        except Unreadable as error:
            if not error.absent:
                return [], [f"{name} {error}"]
            continue
        except YamlError as error:
            return [], [f"{name}:{error.line}: {error.message}"]
        services = document.get("services") if isinstance(document, dict) else None
        if not isinstance(services, dict):
            return [], [f"{name} holds no services"]
        return _all(name, {key: value for key, value in services.items() if isinstance(value, dict)}), []
    return [], []


def _all(file: str, services: Mapping[str, dict[str, Any]]) -> list[Draft]:
    names = {name: _service_name(name) for name in services}
    kinds = {names[name]: _kind(names[name], value) for name, value in services.items()}
    found = [_draft(file, name, value, names, kinds) for name, value in services.items()]
    for draft in found:  # a user's own image first needs what it depends on to be there
        kept = [other.name for other in found if other.name in _list(draft.settings.get("depends_on"))]
        draft.settings.pop("depends_on", None)
        if kept:
            draft.settings["depends_on"] = kept
    return found


def _draft(file: str, raw_name: str, raw: dict[str, Any], names: Mapping[str, str], kinds: Mapping[str, str]) -> Draft:
    name = names[raw_name]
    draft = Draft(name, kinds[name], f"{file}: {raw_name}")
    image, notes = _resolved(raw.get("image")), draft.notes
    if image and "build" not in raw:
        draft.settings["image"] = image
    if _is_not_said(draft, image):
        draft.settings["kind"] = draft.kind
    if "build" in raw:
        draft.settings["build"] = _build(raw["build"])
    draft.settings["depends_on"] = [
        names.get(other, other) for other in _list(raw.get("depends_on")) if isinstance(other, str)
    ]
    if get(draft.kind).image:
        _settings_of_kind(draft, raw)
    else:
        _settings_of_own(draft, raw, kinds)
    notes += [f"{key}: {UNSAFE[key]}" for key in raw if key in UNSAFE]
    _volumes(draft, raw)
    return draft


def _service_name(name: str) -> str:
    cleaned = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:40]
    return cleaned if cleaned[:1].isalpha() else f"s{cleaned}"[:40]


def _kind(name: str, raw: Mapping[str, Any]) -> str:
    image = _resolved(raw.get("image")) or ""
    if name == "websocket":
        return name
    if "build" in raw:
        return GENERIC
    if _POSTGRES_LIKE.fullmatch(image):
        return "postgres"
    return kind_of_image(image) or GENERIC


def _is_not_said(draft: Draft, image: str | None) -> bool:
    """Whether the kind would be taken for another one by the service's name or image."""
    by_name = draft.name if draft.name in kind_names() else None
    return draft.kind != (by_name or kind_of_image(image or "") or GENERIC)


def _settings_of_kind(draft: Draft, raw: Mapping[str, Any]) -> None:
    environment = dict(_environment(raw.get("environment")))
    for variable, option in (("POSTGRES_DB", "database"), ("POSTGRES_USER", "user")):
        if (value := _resolved(environment.get(variable))) and option in get(draft.kind).options:
            draft.settings[option] = value
    if any(variable.endswith("PASSWORD") for variable in environment):
        draft.notes.append("the password; envctl makes a random one and exports it")
    default = get(draft.kind).ports[0].container_port
    if (ports := list(_container_ports(raw.get("ports")))) and default not in ports:
        draft.settings["port"] = ports[0]
    if raw.get("command"):
        draft.notes.append(f"command: {raw['command']}; envctl sets up {draft.kind} for tests")


def _settings_of_own(draft: Draft, raw: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    ports = list(dict.fromkeys([*_container_ports(raw.get("ports")), *_container_ports(raw.get("expose"))]))
    if ports and draft.kind != GENERIC:
        draft.settings["port"], ports = ports[0], ports[:1]
    elif ports:
        draft.settings["ports"] = {_port_name(port, ports): port for port in ports}
    if raw.get("command"):
        words = raw["command"] if isinstance(raw["command"], list) else str(raw["command"])
        draft.settings["command"] = [str(word) for word in words] if isinstance(words, list) else words
    environment = {}
    for name, value in _environment(raw.get("environment")):
        resolved = _resolved(value)
        if resolved is None:
            draft.notes.append(f"environment: {name} has no value in the file")
        else:
            environment[name] = _with_references(resolved, kinds)
    if environment:
        draft.settings["environment"] = environment
    if ready := _ready(raw.get("healthcheck"), ports):
        draft.settings["ready"] = ready if draft.kind == GENERIC else {check: _main(ready[check]) for check in ready}


def _with_references(value: str, kinds: Mapping[str, str]) -> str:
    """`postgres://user:secret@db:5432/app` becomes `{db.url}`: the password is another one here."""
    match = _URL.fullmatch(value)
    return f"{{{match[1]}.url}}" if match and kinds.get(match[1], GENERIC) != GENERIC else value


def _ready(healthcheck: object, ports: list[int]) -> dict[str, object] | None:
    test = healthcheck.get("test") if isinstance(healthcheck, dict) else None
    words = [str(word) for word in test] if isinstance(test, list) else ["CMD-SHELL", str(test)] if test else []
    if not words or words[0] == "NONE":
        return None
    match = re.search(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::(\d+))?(/[^\s\"'|;&#]*)?", " ".join(words))
    if match and (int(match[1] or 80) in ports):
        port = int(match[1] or 80)
        return {"http": {"path": match[2] or "/", "port": _port_name(port, ports)}}
    if words[0] == "CMD":
        return {"exec": words[1:]}
    return {"exec": ["sh", "-c", words[-1]]} if words[0] == "CMD-SHELL" else {"exec": words}


def _main(check: object) -> object:
    """The check without the port's name: it asks the main port."""
    return {"path": check["path"]} if isinstance(check, dict) else check


def _port_name(port: int, ports: list[int]) -> str:
    web = [number for number in ports if number in _WEB]
    return "http" if web and port == web[0] else f"port{port}"


def _volumes(draft: Draft, raw: Mapping[str, Any]) -> None:
    kept = []
    for volume in _list(raw.get("volumes")):
        if not isinstance(volume, str):
            draft.notes.append(f"volume {volume}")
            continue
        source, _, rest = volume.partition(":")
        target = rest.partition(":")[0]
        if not source.startswith((".", "/", "~", "$")):
            if draft.kind == GENERIC and target.startswith("/"):
                kept.append(f"{source}:{target}")
        elif source.startswith(".") and "." in source.rpartition("/")[2][1:]:  # looks like a file
            kept.append(f"{source}:{target}:ro")
        else:
            draft.notes.append(f"the mount {volume}; only named volumes and single files are")
            if draft.kind == "postgres" and target.rstrip("/") == _FIRST_START and source.startswith("."):
                draft.suggestions.append(("seed", [f"{source.rstrip('/')}/*.sql"], f"the mount {volume}"))
    if kept:
        draft.settings["volumes"] = kept


def _build(raw: object) -> object:
    if not isinstance(raw, dict):
        return _resolved(raw) or "."
    kept = {key: _resolved(raw[key]) or "" for key in ("context", "dockerfile", "target") if raw.get(key)}
    return kept or "."


def _container_ports(raw: object) -> Iterator[int]:
    for entry in _list(raw):
        text = str(entry.get("target", "") if isinstance(entry, dict) else _resolved(entry) or "")
        last = text.partition("/")[0].rpartition(":")[2]
        if last.isdecimal() and 1 <= int(last[:6]) <= 65535 and not text.endswith("/udp"):
            yield int(last)


def _environment(raw: object) -> Iterator[tuple[str, object]]:
    if isinstance(raw, dict):
        yield from raw.items()
    for entry in raw if isinstance(raw, list) else ():
        name, equals, value = str(entry).partition("=")
        yield name, value if equals else None


def _resolved(value: object) -> str | None:
    """The text with Compose's own defaults put in (`${TAG:-16}`), or None where a variable has none."""
    if value is None or isinstance(value, (dict, list)):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"\$\{\w+:?-([^{}]*)\}", r"\1", text)
    return None if re.search(r"(?<!\$)\$[\w{]", text) else text.replace("$$", "$")


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, dict)) else []
