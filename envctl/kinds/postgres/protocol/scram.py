"""The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), as PostgreSQL speaks it.

The exchange proves both ways: the server that signs the last message knows the password too (or what it stored of it).
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import pbkdf2_hmac, sha256

MECHANISM = b"SCRAM-SHA-256"

# PostgreSQL's default is 4096 (about 2 ms). A server may ask for any number; a probe must stay short.
_MOST_ITERATIONS = 100_000
_HEADER = b"n,,"  # no channel binding, no other identity


class Refused(ValueError):
    """The server's message is not acceptable; the text says why."""


class Scram:
    """One exchange.

    Args:
        password: The password. Sent as it is: envctl's are ASCII, for which SASLprep changes nothing.
        nonce: Random printable ASCII without a comma, new for each exchange.
    """

    def __init__(self, password: str, nonce: bytes) -> None:
        self._password = password.encode()
        self._nonce = nonce
        self._first_bare = b"n=,r=" + nonce  # PostgreSQL takes the user from the startup message
        self._server_signature = b""

    def first(self) -> bytes:
        """The first message."""
        return _HEADER + self._first_bare

    def final(self, server_first: bytes) -> bytes:
        """The second message: the proof that we know the password. Raises Refused."""
        fields = _fields(server_first)
        nonce, salt, iterations = fields.get(b"r", b""), fields.get(b"s", b""), fields.get(b"i", b"")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise Refused("the server did not add to our nonce")
        if not iterations.isdigit() or not 1 <= int(iterations[:9]) <= _MOST_ITERATIONS or len(iterations) > 9:
            raise Refused(f"the server asks for more than {_MOST_ITERATIONS} rounds")
        salted = _salted(self._password, b64decode(salt, validate=True), int(iterations))
        without_proof = b"c=" + b64encode(_HEADER) + b",r=" + nonce
        signed = b",".join((self._first_bare, server_first, without_proof))
        client_key = _mac(salted, b"Client Key")
        signature = _mac(sha256(client_key).digest(), signed)
        self._server_signature = _mac(_mac(salted, b"Server Key"), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + b64encode(proof)

    def check(self, server_final: bytes) -> None:
        """Check the server's own proof. Raises Refused."""
        signature = b64decode(_fields(server_final).get(b"v", b""), validate=True)
        if not self._server_signature or not hmac.compare_digest(signature, self._server_signature):
            raise Refused("the server does not know this environment's password")


@lru_cache(maxsize=16)
def _salted(password: bytes, salt: bytes, iterations: int) -> bytes:
    """What costs the time: remembered for whoever logs in at the same server again and again."""
    return pbkdf2_hmac("sha256", password, salt, iterations)


def _fields(message: bytes) -> dict[bytes, bytes]:
    return {part[:1]: part[2:] for part in message.split(b",") if part[1:2] == b"="}


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
