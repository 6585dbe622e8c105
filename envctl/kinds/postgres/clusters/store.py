"""The folder of a cluster: made as a copy with a password of its own, known to be whole by a mark that is set last."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from envctl.errors import CannotWrite, StateDenied, Unsupported
from envctl.host import cache, data_folder
from envctl.host.account import Account
from envctl.host.copy import Packed, open_packed
from envctl.host.files import cannot_write
from envctl.kinds.postgres import leftovers
from envctl.kinds.postgres.clusters import cluster, verifier
from envctl.kinds.postgres.clusters.cluster import Recipe

_RAN = "postmaster.opts"  # written by each server that starts


class Known(NamedTuple):
    """What is known of a folder that is whole.

    Attributes:
        verifier: Of the superuser's password; "" where that is not known.
        prepared: Key of the prepared data it was made from, "" where it was made from none, None where not known.
    """

    verifier: str
    prepared: str | None


def known(data: Path, account: Account | None, *, durable: bool) -> Known | None:
    """What is known of the folder if it is whole, else None.

    Without our mark it is whole if a server has run on it: then somebody removed the mark.

    Raises:
        StateDenied: Data that is to survive belongs to another user.
    """
    mark = data_folder.marked(data)
    if mark is None and not (data / _RAN).is_file():
        return None
    if not _belongs(data, account, durable=durable):
        return None
    if not mark or not isinstance(mark.get("verifier"), str):
        return Known("", None)
    return Known(mark["verifier"], str(mark.get("prepared", "")))


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


def remove(data: Path) -> None:
    """Remove a folder that is not whole, or of no use, with what killed preparations left.

    Raises:
        Leftovers: Something cannot be removed.
    """
    leftovers.clear(data)
    data_folder.remove(data)


def make(
    recipe: Recipe,
    data: Path,
    password: str,
    account: Account | None,
    *,
    durable: bool,
    prepared: Mapping[str, str] | None = None,
) -> None:
    """Make the folder: a copy of prepared data with a password of its own. On failure nothing of it stays.

    Args:
        recipe: What cluster.
        data: The folder, which does not exist.
        password: The superuser's.
        account: Whose it is to be, where not ours.
        durable: Whether it must survive a power failure.
        prepared: `key` and `source` of the data it starts from; else it is a new cluster.

    Raises:
        EngineFailed: `initdb` or the server refused.
        CannotWrite: There is no room.
        DataFailed: The prepared data is not there, or damaged.
    """
    size = None
    try:
        with ExitStack() as stack:
            if prepared:
                packed = stack.enter_context(data_folder.opened(prepared))
            else:
                packed = open_packed(stack.enter_context(_cluster(recipe, data.parent, account)))
            size = packed.size_bytes
            key = prepared["key"] if prepared else ""
            _copy(recipe, packed, data, password, account, key, durable=durable)
    except BaseException as error:
        remove(data)
        if isinstance(error, OSError):
            raise cannot_write(data, error, size) from error
        if prepared and isinstance(error, (ValueError, LookupError, TypeError)):
            raise data_folder.unusable(prepared, str(error)) from None
        raise


def _cluster(recipe: Recipe, below: Path, account: Account | None) -> AbstractContextManager[int]:
    """A new cluster, from the cache."""

    def make_it(target: BinaryIO) -> None:
        cluster.make(recipe, below, account, target)

    return cache.entry(cache.root(os.environ), "clusters", recipe.key(), make_it, below)


def _copy(
    recipe: Recipe, packed: Packed, data: Path, password: str, account: Account | None, key: str, *, durable: bool
) -> None:
    data_folder.fill(packed, data, account)
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
    _mark(data, text, key, account, durable=durable)


def set_password(recipe: Recipe, data: Path, password: str, account: Account | None, key: str) -> None:
    """Change the superuser's password in a cluster no server runs on, which was made from the prepared data `key`.

    Raises:
        EngineFailed: The server refused.
    """
    text = verifier.of(password)
    _alter(recipe, data, text, account, durable=True)
    _mark(data, text, key, account, durable=True)


def _alter(recipe: Recipe, data: Path, text: str, account: Account | None, *, durable: bool) -> None:
    statement = f"""ALTER ROLE "{recipe.user}" PASSWORD '{text}';"""
    cluster.single(recipe.postgres, data, statement, account, durable=durable)


def _mark(data: Path, text: str, key: str, account: Account | None, *, durable: bool) -> None:
    """Say that the folder is whole, for which password, and from what it was made."""
    data_folder.mark(data, {"verifier": text, "prepared": key}, account, durable=durable)


def _sync(data: Path) -> None:
    """Everything that was written to this disk is on it."""
    import ctypes

    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None).syncfs(fd):
            os.sync()
    finally:
        os.close(fd)


def check_version(recipe: Recipe, data: Path) -> None:
    """Prove that the server can read the data.

    Raises:
        Unsupported: It is another major version's.
        CannotWrite: It is no cluster at all.
    """
    its = (data_folder.read(data / "PG_VERSION") or b"").decode(errors="replace").strip()
    if not its:
        fix = ["`envctl down --purge`, then `envctl up`"]
        raise CannotWrite(f"{data} holds no PostgreSQL data", cause="PG_VERSION is missing", fix=fix)
    ours = recipe.version.split(".")[0]
    if its == ours:
        return
    raise Unsupported(
        f"the data in {data} was made by PostgreSQL {its}, and PostgreSQL {recipe.version} serves here",
        fix=[
            f"name the programs of PostgreSQL {its}: `engine_options: {{postgres_bin: /path/of/bin}}`",
            "or start afresh: `envctl down --purge`, then `envctl up`",
        ],
        subject={"path": str(data), "data_version": its, "version": recipe.version},
    )
