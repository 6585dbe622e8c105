"""Save the data of this environment by a name, and put it back.

`save` takes what Postgres and Redis hold at one moment, while tests go on. `restore` puts it back, all of it or
nothing; who is connected is sent away and connects again. A snapshot belongs to the project: it fits every environment
that has services of the same names and kinds. `export` and `import` carry it elsewhere as one file. Import only files
from people you trust: a database runs what its data says.

`ls` also shows prepared snapshots: migrated and seeded data that `envctl up` keeps and starts from. `rm` removes both
kinds, prepared ones by at least six digits of their key.

Examples:
  envctl snapshot save before-refactoring
  envctl snapshot restore before-refactoring
  envctl snapshot export demo demo.envctl
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envctl import saved
from envctl.cli import output, progress
from envctl.cli.cells import table
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings, current_folder
from envctl.cli.words import did_you_mean, seconds_between, size, span
from envctl.conductor.data.snapshots import SHOWN_KEY
from envctl.errors import UsageError
from envctl.host import clock
from envctl.host.terminal import escape

if TYPE_CHECKING:
    from envctl.host.prepared import Snapshot
    from envctl.host.snapshots import Named

_FORMATS = ("table", "json")
_HEADERS = ("NAME", "KIND", "PROJECT", "SIZE", "AGE", "USED", "HOLDS")


class _Bytes(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on, for mypy only
    """An amount of bytes: 500m, 10g."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from envctl.plan.units import size_bytes

        try:
            return size_bytes(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


@dataclass(frozen=True)
class _Wish:
    """What is asked for beside the verb and its words."""

    form: str
    force: bool
    only: tuple[str, ...]
    everything: bool
    max_size: int | None


@command(__doc__, formats=_FORMATS, timeout=True)
@click.argument("verb", metavar="save|restore|ls|rm|export|import", shell_complete=lambda *_: list(_VERBS))
@click.argument("words", metavar="[NAME]... [FILE]", nargs=-1)
@click.option("--force", is_flag=True, help="save, export, import: replace what is there of this name.")
@click.option(
    "--only", metavar="SERVICE", multiple=True, shell_complete=complete_services, help="restore: this service alone."
)
@click.option("--all", "everything", is_flag=True, help="ls: of all projects.")
@click.option("--max-size", type=_Bytes(), metavar="SIZE", help="import: how much it may hold unpacked; 10g otherwise.")
def command_line(
    settings: Settings,
    verb: str,
    words: tuple[str, ...],
    *,
    force: bool,
    only: tuple[str, ...],
    everything: bool,
    max_size: int | None,
) -> None:
    """Do it."""
    if verb not in _VERBS:
        fix = [*did_you_mean(verb, list(_VERBS)), f"envctl snapshot {'|'.join(_VERBS)}"]
        raise UsageError(f"envctl snapshot cannot {verb!r}", fix=fix)
    run, usage, least, most, options = _VERBS[verb]
    if not least <= len(words) <= most:
        raise UsageError(
            f"envctl snapshot {verb} takes {usage or 'no name'}", fix=[f"envctl snapshot {verb} {usage}".rstrip()]
        )
    given = {"--force": force, "--only": bool(only), "--all": everything, "--max-size": max_size is not None}
    for option in (option for option, is_given in given.items() if is_given and option not in options):
        raise UsageError(f"{option} does not go with envctl snapshot {verb}")
    run(settings, words, _Wish(settings.choose_format(_FORMATS), force, only, everything, max_size))


# -- the verbs ---------------------------------------------------------------------------------------------------------


def _save(settings: Settings, words: Sequence[str], wish: _Wish) -> None:
    with progress.start(settings) as teller:
        made = saved.save(settings.selection(), words[0], replace=wish.force, progress=teller)
    _tell(made, "saved", wish)


def _restore(settings: Settings, words: Sequence[str], wish: _Wish) -> None:
    began_s = clock.monotonic_s()
    with progress.start(settings) as teller:
        services = saved.restore(
            settings.selection(), words[0], only=wish.only, progress=teller, timeout_s=settings.timeout_s
        )
    took_s = clock.monotonic_s() - began_s
    if wish.form == "json":
        output.write_json({"snapshot": words[0], "services": list(services), "duration_ms": round(took_s * 1000)})
    else:
        output.write(f"restored {words[0]}: {', '.join(services)}, in {took_s:.1f} s\n")


def _list(settings: Settings, words: Sequence[str], wish: _Wish) -> None:  # noqa: ARG001 - as the others
    found = saved.listed(settings.selection(), everything=wish.everything)
    if wish.form == "json":
        named, prepared = map(_named_as_dict, found.named), map(_prepared_as_dict, found.prepared)
        output.write_json({"snapshots": [*named, *prepared]})
        return
    now = clock.now()
    rows = [*(_named_row(one, now) for one in found.named), *(_prepared_row(one, now) for one in found.prepared)]
    if not wish.everything:
        rows = [(*row[:2], "", *row[3:]) for row in rows]
    if rows:
        output.write(table(_HEADERS, rows, output.columns(sys.stdout)))
    else:
        output.say("no snapshots; `envctl snapshot save NAME` makes one")


def _remove(settings: Settings, words: Sequence[str], wish: _Wish) -> None:
    removed = saved.remove(settings.selection(), words)
    if wish.form == "json":
        output.write_json({"removed": removed})
    else:
        output.write("".join(f"removed {escape(name)}\n" for name in removed))


def _export(settings: Settings, words: Sequence[str], wish: _Wish) -> None:
    file = _file(words[1])
    saved.export(settings.selection(), words[0], file, replace=wish.force)
    if wish.form == "json":
        output.write_json({"snapshot": words[0], "file": str(file), "size_bytes": file.stat().st_size})
    else:
        output.write(f"wrote {escape(str(file))}\n")


def _import(settings: Settings, words: Sequence[str], wish: _Wish) -> None:
    name = words[1] if len(words) > 1 else None
    taken = saved.take_in(settings.selection(), _file(words[0]), name, max_bytes=wish.max_size, replace=wish.force)
    _tell(taken, "imported", wish)


_ANY = 1 << 30
_Run = Callable[[Settings, Sequence[str], _Wish], None]
_VERBS: dict[str, tuple[_Run, str, int, int, tuple[str, ...]]] = {
    "save": (_save, "NAME", 1, 1, ("--force",)),
    "restore": (_restore, "NAME", 1, 1, ("--only",)),
    "ls": (_list, "", 0, 0, ("--all",)),
    "rm": (_remove, "NAME…", 1, _ANY, ()),
    "export": (_export, "NAME FILE", 2, 2, ("--force",)),
    "import": (_import, "FILE [NAME]", 1, 2, ("--force", "--max-size")),
}


def _file(word: str) -> Path:
    return current_folder() / word


# -- telling -----------------------------------------------------------------------------------------------------------


def _tell(one: Named, done: str, wish: _Wish) -> None:
    if wish.form == "json":
        output.write_json(_named_as_dict(one))
    else:
        output.write(f"{done} {one.name}: {_holds(one)}, {size(one.size_bytes)}\n")


def _holds(one: Named) -> str:
    if one.manifest is None:
        return "damaged"
    return ", ".join(escape(part.service, limit=60) for part in one.manifest.parts)


def _named_row(one: Named, now: datetime) -> tuple[str, ...]:
    project, created = (one.manifest.project, one.manifest.created) if one.manifest else ("", "")
    age_s = seconds_between(created, now)
    used = span(now.timestamp() - one.used_s)
    age = span(age_s) if age_s is not None else ""
    return (one.name, "named", escape(project, limit=60), size(one.size_bytes), age, used, _holds(one))


def _prepared_row(one: Snapshot, now: datetime) -> tuple[str, ...]:
    age, used = span(now.timestamp() - one.created_s), span(now.timestamp() - one.used_s)
    holds = escape(f"{', '.join(one.sources)}: {one.cause}", limit=120)
    return (one.key[:SHOWN_KEY], "prepared", escape(one.project, limit=60), size(one.size_bytes), age, used, holds)


def _named_as_dict(one: Named) -> dict[str, Any]:
    known = {"name": one.name, "kind": "named", "size_bytes": one.size_bytes, "used_at": _iso(one.used_s)}
    if one.manifest is None:
        return known | {"damaged": True}
    services = {
        part.service: {"kind": part.kind, "version": part.version, "database": part.database, "size_bytes": part.size}
        for part in one.manifest.parts
    }
    manifest = one.manifest
    about = {"project": manifest.project, "branch": manifest.branch, "created_at": manifest.created}
    return known | about | {"services": services}


def _prepared_as_dict(one: Snapshot) -> dict[str, Any]:
    return {
        "name": one.key,
        "kind": "prepared",
        "size_bytes": one.size_bytes,
        "used_at": _iso(one.used_s),
        "project": one.project,
        "branch": one.branch,
        "created_at": _iso(one.created_s),
        "engine": one.engine,
        "services": list(one.sources),
        "cause": one.cause,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
