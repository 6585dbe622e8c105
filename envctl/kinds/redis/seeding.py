"""Files of keys put into a database of Redis, each at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from envctl.errors import SeedFailed
from envctl.kinds.redis import client
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.files.seedfile import Entry, Misfit, entries
from envctl.kinds.redis.files.seedvalues import Command, commands
from envctl.kinds.redis.protocol.link import settings_for
from envctl.model import Connection

SUFFIXES = (".json", ".yaml", ".yml")

_LIMIT_S = 120.0  # for each answer


def apply(connection: Connection, path: Path, shown: str) -> None:
    """Set the keys of a file to what it says, all of them at one moment, or none. Other keys stay as they are.

    Args:
        connection: The database.
        path: The file.
        shown: How the file is called in errors.

    Raises:
        SeedFailed: It could not be done; the error has file:line and the key.
    """
    try:
        found = entries(path.read_bytes(), is_json=path.suffix.lower() == ".json")
        planned = [(entry, command) for entry in found for command in commands(entry)]
    except Misfit as misfit:
        raise _failed(connection, shown, misfit, rolled_back=True) from None
    except OSError as error:
        raise _failed(connection, shown, Misfit(f"it cannot be read: {error.strerror}"), rolled_back=True) from None
    if planned:
        _send(connection, shown, planned)


def _send(connection: Connection, shown: str, planned: Sequence[tuple[Entry, Command]]) -> None:
    begun = False
    try:
        link = client.Connection(settings_for(connection, connection.database), _LIMIT_S)
        try:
            refused = _queued(link, planned)
            if refused is not None:
                link.ask(["DISCARD"])
                raise refused
            begun = True
            done = link.ask(["EXEC"])
        finally:
            link.close()
        if isinstance(done, ReplyError):
            raise done
        for (entry, _), answer in zip(planned, done if isinstance(done, list) else [], strict=False):
            if isinstance(answer, ReplyError):
                raise Misfit(f"Redis says: {answer}; the file's other keys were set", entry.line, entry.key)
    except Misfit as misfit:
        raise _failed(connection, shown, misfit, rolled_back=not begun) from None
    except ReplyError as refusal:
        raise _failed(connection, shown, Misfit(f"Redis says: {refusal}"), rolled_back=True) from None
    except (OSError, ValueError) as error:
        lost = Misfit(f"the connection failed: {error}")
        raise _failed(connection, shown, lost, rolled_back=not begun) from None


def _queued(link: client.Connection, planned: Sequence[tuple[Entry, Command]]) -> Misfit | None:
    """Have the server queue all commands; what it refused, or None. Nothing is done yet."""
    answers: Iterator[client.Reply] = link.ask_many([[b"MULTI"], *(command for _, command in planned)])
    first = next(answers)
    refused = Misfit(f"Redis says: {first}") if isinstance(first, ReplyError) else None
    for (entry, _), answer in zip(planned, answers, strict=True):
        if isinstance(answer, ReplyError) and refused is None:
            refused = Misfit(f"Redis says: {answer}", entry.line, entry.key)
    return refused


def _failed(connection: Connection, shown: str, misfit: Misfit, *, rolled_back: bool) -> SeedFailed:
    place = f"{shown}:{misfit.line}" if misfit.line else shown
    subject = {"service": connection.service, "file": shown, "line": misfit.line or None, "key": misfit.key or None}
    return SeedFailed(
        f"seed {place} failed",
        cause=f'key "{misfit.key}": {misfit.cause}' if misfit.key else misfit.cause,
        fix=[misfit.fix] if misfit.fix else [],
        subject={**subject, "rolled_back": rolled_back},
        state=f"nothing of {shown} is in service {connection.service}" if rolled_back else None,
    )
