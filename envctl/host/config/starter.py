"""A first `envctl.yaml` for a repository, filled from what is there. What it writes always loads without an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from envctl.errors import EnvctlError
from envctl.host.config import compose_file, evidence
from envctl.host.config.default import DEFAULT_SERVICES
from envctl.host.config.drafts import Draft, comment, flow
from envctl.host.config.keys import PROJECT_NAME
from envctl.host.config.loading import parse

CONFIG_FILE = "envctl.yaml"
SCHEMA_FILE = ".envctl.schema.json"


def starter_files(root: Path) -> Mapping[str, str]:
    """What `envctl init` writes: relative path → content. The schema lies beside, so that editors need no network."""
    import json

    from envctl.host.config.schema import json_schema

    return {CONFIG_FILE: starter_file(root), SCHEMA_FILE: json.dumps(json_schema(), indent=2) + "\n"}


def starter_file(root: Path) -> str:
    """A commented `envctl.yaml` for the repository at `root`. Reads only; never raises for what it finds."""
    seen = evidence.look(root)
    drafts, notes = compose_file.drafts(root)
    notes = [*notes, *seen.notes]
    if not drafts:
        drafts = [
            Draft(kind, kind, "found in " + ", ".join(places[:3]))
            for kind, places in sorted(seen.kinds.items())
            if kind in DEFAULT_SERVICES
        ]
    if not drafts:
        drafts = [Draft(kind, kind, "one of the three services without any configuration") for kind in DEFAULT_SERVICES]
    _suggest(root, seen, drafts)
    return _that_loads(root, seen, drafts, notes)


def _suggest(root: Path, seen: evidence.Evidence, drafts: Sequence[Draft]) -> None:
    """What the first service of a kind may say of its data; only what the checker accepts when it is taken out."""
    for kind, more in seen.data.items():
        draft = next((draft for draft in drafts if draft.kind == kind), None)
        if draft:
            draft.suggestions += more
    for draft in drafts:
        good: dict[str, tuple[str, object, str]] = {}
        for key, value, found in draft.suggestions:
            trial = Draft("trial", draft.kind, found, {"kind": draft.kind, key: value})
            if key not in good and not _problems("\n".join(["services:", *trial.lines()]), root):
                good[key] = (key, value, found)
        draft.suggestions = list(good.values())


def _that_loads(root: Path, seen: evidence.Evidence, drafts: list[Draft], notes: list[str]) -> str:
    """Leaves out, and says so, what the checker refuses: first single settings, then whole services."""
    for _ in range(3 * len(drafts) + 20):
        text = _text(seen, drafts, notes)
        problems = _problems(text, root)
        if not problems:
            return text
        drafts, notes = _without(problems, drafts, notes)
    return _text(evidence.Evidence(), [Draft(kind, kind, "default") for kind in DEFAULT_SERVICES], notes)


def _problems(text: str, root: Path) -> list[Mapping[str, str]]:
    try:
        parse(text, root / CONFIG_FILE, CONFIG_FILE, {})
    except EnvctlError as error:
        found = error.subject.get("problems")
        return list(found) if isinstance(found, list) else [{"path": "", "message": error.message}]
    return []


def _without(
    problems: Sequence[Mapping[str, str]], drafts: list[Draft], notes: list[str]
) -> tuple[list[Draft], list[str]]:
    """Takes away what the first problem of each service is about."""
    notes, gone = list(notes), set()
    by_name = {draft.name: draft for draft in drafts}
    for problem in problems:
        _, _, rest = problem["path"].partition("services.")
        name, _, setting = rest.partition(".")
        key = re.split(r"[.\[]", setting)[0]
        draft = by_name.get(name)
        if draft is None:
            gone |= {drafts[-1].name} if not name and drafts else set()
            continue
        if key in draft.settings and key not in {"image", "build", "kind"}:
            del draft.settings[key]
            draft.notes.append(f"{key}: {problem['message']}")
        elif not key or key in draft.settings or not draft.settings:
            gone.add(name)
            notes.append(f"service {name} was left out: {problem['message']}")
    left = [draft for draft in drafts if draft.name not in gone]
    for draft in left:
        if kept := [name for name in _names(draft.settings.pop("depends_on", None)) if name not in gone]:
            draft.settings["depends_on"] = kept
    if not left:
        left = [Draft(kind, kind, "nothing could be carried over: the default") for kind in DEFAULT_SERVICES]
    return left, notes


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _text(seen: evidence.Evidence, drafts: Sequence[Draft], notes: Sequence[str]) -> str:
    good_name = seen.name if seen.name and re.fullmatch(PROJECT_NAME, seen.name) else None
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA_FILE}",
        "# The services this repository's tests need. `envctl up` starts them, `envctl down` removes them.",
        *(f"# Note: {comment(note)}" for note in notes),
        "",
        f"name: {flow(good_name)}" if good_name else "# name: shop            # default: the repository folder's name",
        "# engine: auto          # compose where a Docker engine answers, else embedded",
        "# ttl: 8h               # removed by `envctl gc` after this time; default: never on a workstation",
        "# ready_timeout: 60s    # one deadline for all services together",
        "# pull: missing         # images; or always: also the newest at each start; or never: only what is there",
        "# snapshots: true       # migrated and seeded data is kept for later use; or {max_size: 5g}, or false",
        '# registry_mirror: "${REGISTRY_MIRROR:-}"   # images of Docker Hub come from HOST[:PORT][/PATH]',
        "",
        "services:",
    ]
    for draft in drafts:
        lines += [*draft.lines(), ""]
    lines += _own_server(seen, drafts)
    return "\n".join([*lines, *_export(seen, drafts)]).rstrip("\n") + "\n"


def _own_server(seen: evidence.Evidence, drafts: Sequence[Draft]) -> list[str]:
    """A service for the repository's own server, to be taken out of its comment: whether tests need it is not seen."""
    if not seen.script:
        return []
    taken = {draft.name for draft in drafts}
    if any(draft.name == "websocket" and not draft.settings for draft in drafts):
        name, what = "websocket", "Instead of the bundled server above: your own, from the working tree"
    else:
        name = next((name for name in ("server", "app") if name not in taken), "own-server")
        what = "Your own server, from the working tree"
    return [
        f"  # {what}, listening on $PORT (the script is in package.json):",
        f"  # {name}:",
        f"  #   process: {flow(seen.script)}",
        "  #   port: auto",
        '  #   inputs: ["src/**"]        # `envctl up` starts it again when one of these changed',
        "",
    ]


def _export(seen: evidence.Evidence, drafts: Sequence[Draft]) -> list[str]:
    first = {draft.kind: draft.name for draft in reversed(drafts)}
    found = [
        f'  {name}: "{{{first[kind]}.{attribute}}}"  # expected by {file}'
        for name, (kind, attribute, file) in seen.expected.items()
        if kind in first
    ]
    if found:
        return ["# Names your tests expect, beside the standard ones.", "export:", *found]
    database = next((draft.name for draft in drafts if draft.kind == "postgres"), "postgres")
    return [
        "# Names your tests expect, beside the standard ones (DATABASE_URL, REDIS_URL, WS_URL, PGHOST, …):",
        "# export:",
        f'#   TEST_DATABASE_URL: "{{{database}.url}}"',
    ]
