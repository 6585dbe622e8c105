"""Whether anybody is at an address: one attempt to connect, cut off at once."""

from __future__ import annotations

import socket

LIMIT_S = 0.5


def refusal(host: str, port: int, limit_s: float = LIMIT_S) -> str:
    """What is wrong with connecting to a port, in a few words; "" where a connection is accepted.

    Args:
        host: IP address.
        port: Port.
        limit_s: How long to wait, seconds.
    """
    try:
        with socket.create_connection((host, port), limit_s):
            return ""
    except TimeoutError:
        return f"no answer within {limit_s:g} s"
    except ConnectionRefusedError:
        return REFUSED
    except OSError as error:
        return error.strerror or str(error)


REFUSED = "connection refused"
"""The machine at the address is there, and nobody listens at the port."""


def is_there(host: str, port: int) -> str:
    """What is wrong with reaching a machine, in a few words; "" where it answers, be it with a refusal."""
    found = refusal(host, port)
    return "" if found == REFUSED else found
