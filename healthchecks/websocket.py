#!/usr/bin/env python3
"""Is the bundled WebSocket server usable inside its container? The contract of a check: README.md.

Reads PORT (default 3001). Asks `/readyz`, which answers for the whole chain: Postgres and Redis behind it too.
"""

import json
import os
import socket
import sys

LIMIT_S = 0.6  # for each step; there are three at most
MOST_BYTES = 65536


def ask(port: int) -> tuple[int, bytes]:
    """The status and the body of `GET /readyz`. http.client would take longer to import than the answer takes."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as link:
        link.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b""
        while len(answer) < MOST_BYTES and (chunk := link.recv(MOST_BYTES)):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def waiting(body: bytes) -> str:
    """The dependencies that are not connected, as text."""
    try:
        states = {name: link["state"] for name, link in json.loads(body)["dependencies"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no reason given"
    return ", ".join(f"{name} {state}" for name, state in states.items() if state == "connecting") or "going away"


def look() -> tuple[bool, str]:
    """Whether it is ready, and what was seen."""
    try:
        status, body = ask(int(os.environ.get("PORT") or 3001))
    except (OSError, ValueError, IndexError) as error:
        return False, f"not yet: {error}"
    if status == 200:
        return True, "answers 200 to GET /readyz"
    return False, f"not yet: {status}, {waiting(body)}"


def main() -> int:
    """Print one line; 0 is ready, 1 is not yet."""
    ready, seen = look()
    sys.stdout.write(f"{ascii(seen)[1:-1]}\n")  # ascii: no line feed or control character gets through
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
