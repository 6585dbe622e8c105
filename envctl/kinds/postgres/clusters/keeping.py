"""Keeping the data of a server that has ended, for other environments to start from."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from envctl.errors import DataFailed
from envctl.host import data_folder
from envctl.host.account import Account
from envctl.kinds.postgres.clusters import cluster, store, verifier
from envctl.kinds.postgres.clusters.cluster import Recipe

_CONTROL = "global/pg_control"
_STATE_AT = 16  # state in ControlFileData, after the system's identifier and two versions
_SHUT_DOWN = 1  # DB_SHUTDOWNED (src/include/catalog/pg_control.h)
_LARGE = 1024**2
# Whoever needs what is past: a slot reads from it, a prepared transaction may be older than it.
_NEEDS_PAST = ("pg_replslot", "pg_twophase")


def pack(recipe: Recipe, data: Path, target: Path, account: Account | None) -> int:
    """Pack the cluster into a file; `verifier.Spot` is in its meta as "password", or None there.

    Args:
        recipe: What cluster.
        data: The folder; its server has ended.
        target: The file.
        account: Whose the cluster is, where not ours.

    Returns:
        What the file takes on disk, bytes.

    Raises:
        CannotWrite: There is no room.
        DataFailed: The server was not ended in an orderly way, or not all of its data is in the folder.
    """
    _check_ended(data)
    needed = any(any((data / name).iterdir()) for name in _NEEDS_PAST)
    if not needed and (complaint := cluster.forget_past(recipe, data, account)):
        raise _failed(data, f"pg_resetwal failed: {complaint.splitlines()[-1]}")
    known = store.known(data, account, durable=False)
    spot = None
    with suppress(OSError):  # a file of another name, after VACUUM FULL
        spot = verifier.find((data / verifier.AUTHID).read_bytes(), known.verifier if known else "")
    return data_folder.save(data, target, {"password": spot}, lambda name: _is_left_out(data, name))


def _check_ended(data: Path) -> None:
    """Prove that everything is in the folder and nothing need be recovered."""
    head = data_folder.read(data / _CONTROL) or b""
    if len(head) >= _STATE_AT + 4 and struct.unpack_from("=i", head, _STATE_AT)[0] == _SHUT_DOWN:
        return
    raise _failed(data, "PostgreSQL did not shut down in an orderly way: it was killed, or took too long")


def _failed(data: Path, cause: str) -> DataFailed:
    fix = ["try again", "or do without prepared data: `snapshots: false` in envctl.yaml"]
    return DataFailed(f"cannot keep the data in {data}", cause=cause, fix=fix, subject={"path": str(data)})


def _is_left_out(data: Path, name: str) -> bool:
    """Whether the server makes the file again by itself; of large tables we would only wait for that."""
    if not cluster.REBUILT.fullmatch(name):
        return False
    main, _, fork = name.rpartition("_")
    if fork not in {"fsm", "vm"}:
        return True
    with suppress(OSError):
        return (data / main).stat().st_size < _LARGE
    return True
