"""The folder of a cluster: made as a copy with a password of its own, known to be whole by a mark that is set last."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

from envctl.errors import CannotWrite, Leftovers, StateDenied, Unsupported
from envctl.host import cache, files
from envctl.host.account import Account
from envctl.host.copy import Packed, open_packed, spread, unpack
from envctl.host.files import cannot_write
from envctl.kinds.postgres import cluster, leftovers, verifier
from envctl.kinds.postgres.cluster import Recipe

_MARKER = "envctl.json"
_RAN = "postmaster.opts"  # written by each server that starts
_LONGEST = 4096


def known(data: Path, account: Account | None, *, durable: bool) -> str | None:
    """The password's verifier if the folder is whole, "" where that is not known; None where it is not whole.

    Without our marker it is whole if a server has run on it: then somebody removed the marker.

    Raises:
        StateDenied: Data that is to survive belongs to another user.
    """
    text = _read(data / _MARKER)
    if text is None and not (data / _RAN).is_file():
        return None
    if not _belongs(data, account, durable=durable):
        return None
    try:
        return str(json.loads(text or b"")["verifier"])
    except (ValueError, KeyError, TypeError):
        return ""


def _read(path: Path) -> bytes | None:
    """A short file of the data's owner, whom we do not trust: no link is followed, and nothing waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(_LONGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


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
    """Remove a folder that is not whole, with what killed preparations left.

    Raises:
        Leftovers: Something cannot be removed.
    """
    leftovers.clear(data)
    for empty in data.parent.glob(f".{data.name}.*"):  # of a preparation that was killed
        with suppress(OSError):
            empty.rmdir()
    if left := files.remove_tree(data, data.parent):
        raise Leftovers(f"cannot remove the half-made {data}", evidence=left, fix=[f"rm -rf {data}"], leftovers=left)


def make(recipe: Recipe, data: Path, password: str, account: Account | None, *, durable: bool) -> None:
    """Make the folder: a copy of the prepared cluster with a password of its own. On failure nothing of it stays.

    Args:
        recipe: What cluster.
        data: The folder, which does not exist.
        password: The superuser's.
        account: Whose it is to be, where not ours.
        durable: Whether it must survive a power failure.

    Raises:
        EngineFailed: `initdb` or the server refused.
        CannotWrite: There is no room.
    """
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
        remove(data)
        raise cannot_write(data, error, size) from error
    except BaseException:
        remove(data)
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


def set_password(recipe: Recipe, data: Path, password: str, account: Account | None) -> None:
    """Change the superuser's password in a cluster no server runs on.

    Raises:
        EngineFailed: The server refused.
    """
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


def check_version(recipe: Recipe, data: Path) -> None:
    """Prove that the server can read the data.

    Raises:
        Unsupported: It is another major version's.
        CannotWrite: It is no cluster at all.
    """
    its = (_read(data / "PG_VERSION") or b"").decode(errors="replace").strip()
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
