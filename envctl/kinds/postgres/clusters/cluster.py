"""Making a cluster: what `initdb` takes most of a second for, packed so that copies of it are made at once."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from envctl.errors import EngineFailed
from envctl.host import programs
from envctl.host.account import Account
from envctl.host.cache import working_folder
from envctl.host.packing import pack
from envctl.kinds.postgres.clusters import verifier

_RECIPE = 1
"""To be raised with each change of how clusters are made: older ones in the cache are not used then."""

_LIMIT_S = 150.0
_HBA = "# TYPE DATABASE USER ADDRESS METHOD\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n"
_HBA += "local replication all scram-sha-256\nhost replication all all scram-sha-256\n"
# Built again when they are missed: they only say where there is room and what need not be looked at. Two files fewer
# per table are a quarter of all files.
REBUILT = re.compile(r".*/\d+_(?:fsm|vm)|(?:.*/)?pg_internal\.init|postmaster\.(?:opts|pid)")


class Recipe(NamedTuple):
    """Everything that shapes a cluster.

    Attributes:
        postgres: Path of the server's program.
        initdb: Path of the program that makes clusters.
        version: The server's.
        user: The superuser.
        database: The database that is created.
    """

    postgres: str
    initdb: str
    version: str
    user: str
    database: str

    def key(self) -> str:
        """Equal for recipes that give the same cluster on this machine."""
        found = os.stat(self.postgres)  # noqa: PTH116 - on the fast path
        binary = [os.path.realpath(self.postgres), found.st_size, found.st_mtime_ns]
        shared = os.access("/dev/shm", os.W_OK)  # noqa: S108 - initdb chooses by it how processes share memory
        parts = [_RECIPE, self.version, binary, self.user, self.database, locales(), _libc(), shared]
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def locales() -> tuple[str, ...]:
    """The locales to try: bytewise order and Unicode's letters, and where the machine has none such, plain C."""
    return ("C.UTF-8", "C") if _has_unicode() else ("C",)


def _has_unicode() -> bool:
    name, _, version = _libc().partition(" ")
    if name != "glibc":
        return True  # others take any name
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    places = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8", "/usr/lib/locale/locale-archive")
    return numbers >= (2, 35) or any(map(os.path.exists, places))


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def make(recipe: Recipe, below: Path, account: Account | None, target: BinaryIO) -> None:
    """Make a cluster whose superuser has a password nobody knows, and pack it.

    Args:
        recipe: What it is to be.
        below: A folder in which it may be made.
        account: Who makes it, where that is not us.
        target: Where it is packed into; `verifier.Spot` is in its meta as "password", or None there.

    Raises:
        EngineFailed: `initdb` or the server refused; the error has their words.
        OSError: There is no room.
    """
    with working_folder(below, account) as work:
        folder = work / "cluster"
        locale = _initdb(recipe, work, folder, account)
        (folder / "pg_hba.conf").write_text(_HBA)
        if recipe.database not in {"postgres", "template1"}:
            name = recipe.database.replace('"', '""')
            single(recipe.postgres, folder, f'CREATE DATABASE "{name}";', account)
        forget_past(recipe, folder, account)
        spot = verifier.find((folder / verifier.AUTHID).read_bytes())
        pack(str(folder), target, {"password": spot, "locale": locale}, lambda name: bool(REBUILT.fullmatch(name)))


def _initdb(recipe: Recipe, work: Path, folder: Path, account: Account | None) -> str:
    """Make it in the first locale the machine has, which is returned."""
    word = work / "word"
    word.touch(0o600)
    if account is not None:
        os.chown(word, *account)
    word.write_text(os.urandom(16).hex())
    common = [recipe.initdb, "-D", str(folder), "-U", recipe.user, f"--pwfile={word}", "--no-sync", "--encoding=UTF8"]
    common += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256"]
    choices = locales()
    for locale in choices:
        command = [*common, f"--locale={locale}"]
        code, answer = programs.run(command, account=account, folder=str(work), limit_s=_LIMIT_S)
        if code == 0:
            return locale
        if "locale" not in answer or locale == choices[-1]:
            break
    if os.strerror(errno.ENOSPC) in answer:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise _refused(recipe, answer)


def _refused(recipe: Recipe, answer: str) -> EngineFailed:
    lines = answer.strip().splitlines()
    told = [line for line in lines if "error:" in line or "FATAL" in line or "could not" in line]
    fix = ["act on its message; `envctl explain ENGINE_FAILED` says more"]
    if "user does not exist" in answer or "could not look up effective user" in answer:
        line = f"envctl:x:{os.geteuid()}:{os.getegid()}::/tmp:/bin/false"
        fix = [f"give user {os.geteuid()} a name: echo '{line}' >> /etc/passwd", "or run envctl as a user with a name"]
    return EngineFailed(
        f"PostgreSQL {recipe.version} could not make a database",
        cause=told[-1] if told else lines[-1] if lines else "initdb said nothing",
        evidence=lines[-8:],
        fix=fix,
        subject={"path": recipe.initdb},
    )


def forget_past(recipe: Recipe, folder: Path, account: Account | None) -> str:
    """An empty write-ahead log, where the program for that is there: what is in it was done long ago.

    Returns:
        What the program complained of; "" where all went well.
    """
    for _, path in programs.siblings(recipe.initdb, ["pg_resetwal"]):
        command = [path, "-D", str(folder)]
        code, answer = programs.run(command, account=account, folder=str(folder), limit_s=_LIMIT_S)
        if code:
            return answer.strip() or f"exit code {code}"
    return ""


def single(postgres: str, data: Path, statement: str, account: Account | None, *, durable: bool = False) -> None:
    """Run one statement in a cluster no server runs on. It goes in by standard input and into no log.

    Args:
        postgres: The server's program.
        data: The cluster.
        statement: SQL, on one line.
        account: Whose the cluster is, where it is not ours.
        durable: Whether it must survive a power failure.

    Raises:
        EngineFailed: The server refused.
    """
    quiet = {"exit_on_error": "on", "log_statement": "none", "log_min_error_statement": "panic"}
    quiet |= {} if durable else {"fsync": "off"}
    quiet |= {"log_checkpoints": "off", "logging_collector": "off", "log_destination": "stderr"}
    settings: Iterable[str] = (word for name, value in quiet.items() for word in ("-c", f"{name}={value}"))
    command = [postgres, "--single", "-j", "-D", str(data), *settings, "template1"]
    code, answer = programs.run(command, account=account, folder=str(data), text=statement + "\n\n", limit_s=_LIMIT_S)
    if code:
        lines = [line for line in answer.strip().splitlines() if "SCRAM-" not in line]
        raise EngineFailed(
            "PostgreSQL could not open its data",
            cause=next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), None),
            evidence=lines[-8:],
            fix=["where the data is damaged: `envctl down --purge`, and start afresh"],
            subject={"path": str(data)},
        )
