"""Proves that a Postgres is this environment's own: by a login in which the server shows that it knows the password."""

from __future__ import annotations

from envctl.errors import ForeignServer
from envctl.kinds.postgres.protocol.asking import asking, beside
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

_LIMIT_S = 10.0
_REFUSED = "28"  # the class of errors of a login that is not accepted
_NO_DATABASE = "3D000"


def prove(connection: Connection) -> None:
    """Prove that the server at the address is this environment's own.

    With SCRAM both sides show that they know the password, and neither tells it. With older ways, or none, only the
    client does, so that any server could be one that answers.

    Raises:
        ForeignServer: It is not, or does not prove it.
        DataFailed: It does not answer.
    """
    if not connection.password:
        raise _foreign(connection, "the environment knows no password for it, so nothing proves whose it is")
    with asking(connection, "prove whose server it is"):
        try:
            proven = _log_in(connection)
        except Garbled as garbled:
            raise _foreign(connection, str(garbled)) from None
        except ServerError as error:
            if not error.code.startswith(_REFUSED):
                raise
            raise _foreign(connection, f"it does not accept the environment's password: {error.text}") from None
    if not proven:
        cause = "it let us in, but did not prove that it knows the environment's password: it did not ask for SCRAM"
        raise _foreign(connection, cause, "have its pg_hba.conf ask for scram-sha-256, as envctl's own does")


def _log_in(connection: Connection) -> bool:
    try:
        with Client(connection, _LIMIT_S) as client:
            return client.proven
    except ServerError as error:  # the database may have been removed; that says nothing of the server
        if error.code != _NO_DATABASE:
            raise
    with Client(beside(connection), _LIMIT_S) as client:
        return client.proven


def _foreign(connection: Connection, cause: str, *fix: str) -> ForeignServer:
    where = f"{connection.host}:{connection.port}"
    return ForeignServer(
        f'the Postgres at {where} is not service "{connection.service}" of this environment',
        cause=cause,
        fix=[*fix, "envctl status shows what runs where", "envctl up starts the environment's own again"],
        subject={"service": connection.service, "host": connection.host, "port": connection.port},
        state="nothing was changed",
    )
