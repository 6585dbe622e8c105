"""What PostgreSQL stores of a password (RFC 5802, RFC 7677), and how it gets into a cluster that is not running.

What is prepared has a password nobody will use again. Its verifier stands as plain text, of one fixed length, in one
page of `pg_authid`; in a copy it is replaced by this environment's, which takes a millisecond where a server
started for it takes fifty. Only the page's checksum depends on it (src/include/storage/checksum_impl.h).
"""

from __future__ import annotations

import hmac
import os
import re
import struct
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from typing import NamedTuple

_ITERATIONS = 4096  # PostgreSQL's own default, and the least that RFC 7677 asks clients to accept
_TEXT = re.compile(rb"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/]{22}==)\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)", re.ASCII)
_PAGE = 8192
_CHECKSUM_AT = 8  # pd_checksum in PageHeaderData
_FNV_PRIME = 16777619
_MASK = 0xFFFFFFFF
_BASE_OFFSETS = (
    *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C),
    *(0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB),
    *(0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4),
    *(0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
)

AUTHID = "global/1260"
"""The file of pg_authid in a cluster that `initdb` has just made."""


def of(password: str, salt: bytes | None = None) -> str:
    """The text PostgreSQL stores. SASLprep changes nothing of a password of ASCII, as envctl's are.

    Args:
        password: The password.
        salt: 16 bytes; random ones where none are given.
    """
    salt = salt or os.urandom(16)
    salted = pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    words = (b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *words)


def fits(verifier: str, password: str) -> bool:
    """Whether a text of `of` was made for the password."""
    match = _TEXT.fullmatch(verifier.encode())
    if match is None or int(match[1]) != _ITERATIONS:
        return False
    return hmac.compare_digest(of(password, b64decode(match[2])), verifier)


class Spot(NamedTuple):
    """Where the verifier stands in the file of pg_authid.

    Attributes:
        offset: Of its first byte.
        checksums: Whether pages carry checksums.
    """

    offset: int
    checksums: bool


def find(content: bytes, verifier: str = "") -> Spot | None:
    """Where this verifier stands in the file of pg_authid; None where this way of replacing it does not fit.

    Args:
        content: The file's.
        verifier: Which; the only one that is there where none is given.
    """
    matches = [match for match in _TEXT.finditer(content) if verifier.encode() in match[0]]
    if len(matches) != 1 or int(matches[0][1]) != _ITERATIONS or len(content) % _PAGE:
        return None
    start, end = matches[0].span()
    block = start // _PAGE
    if (end - 1) // _PAGE != block:
        return None
    page = content[block * _PAGE : (block + 1) * _PAGE]
    (stored,) = struct.unpack_from("<H", page, _CHECKSUM_AT)
    if stored and stored != _checksum(page, block):
        return None
    return Spot(start, bool(stored))


def replaced(content: bytes, spot: Spot, verifier: str) -> bytes:
    """The file's content with another verifier. Raises ValueError where there is none of that length at the spot."""
    new = verifier.encode()
    match = _TEXT.match(content, spot.offset)
    if match is None or match.end() - match.start() != len(new):
        raise ValueError("pg_authid is not as it was when the cluster was prepared")
    block = spot.offset // _PAGE
    changed = bytearray(content)
    changed[spot.offset : spot.offset + len(new)] = new
    if spot.checksums:
        page = bytes(changed[block * _PAGE : (block + 1) * _PAGE])
        struct.pack_into("<H", changed, block * _PAGE + _CHECKSUM_AT, _checksum(page, block))
    return bytes(changed)


def _checksum(page: bytes, block: int) -> int:
    """pg_checksum_page(): 32 interleaved FNV-1a sums, as every little-endian PostgreSQL since 9.3 computes them."""
    whole = page[:_CHECKSUM_AT] + b"\0\0" + page[_CHECKSUM_AT + 2 :]
    words = struct.unpack(f"<{_PAGE // 4}I", whole)
    result = 0
    for lane, total in enumerate(_BASE_OFFSETS):
        for word in (*words[lane::32], 0, 0):
            mixed = total ^ word
            total = (mixed * _FNV_PRIME & _MASK) ^ (mixed >> 17)
        result ^= total
    return ((result ^ block) % 65535) + 1
