"""Programs that stand for a repository's own server, and the configurations that run them from the working tree."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from harness import Project

# The quickest start Python has: what such a program needs is in its standard library, and in no package.
QUICK = (sys.executable, "-I", "-S")

SERVER = """
import json, os, socket, sys

listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("listening on", os.environ["PORT"], flush=True)
print("and complaining", file=sys.stderr, flush=True)
about = {"pid": os.getpid(), "cwd": os.getcwd(), "arguments": sys.argv[1:], "environment": dict(os.environ)}
while True:
    connection, _ = listener.accept()
    with connection:
        try:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + json.dumps(about).encode())
        except OSError:
            pass  # a probe that has gone away
"""


def server(*arguments: str, **more: Any) -> dict[str, Any]:
    """A service that runs `SERVER` from server.py, which tells who asks by HTTP what it was started with."""
    return {"process": [*QUICK, "server.py", *arguments], "port": "auto", "ready": {"http": "/"}, **more}


def script(code: str, **more: Any) -> dict[str, Any]:
    """A service that runs a few lines of Python; without a port unless one is given."""
    return {"process": [*QUICK, "-c", code], **more}


def configure(project: Project, services: Mapping[str, Any], **more: Any) -> None:
    """Write envctl.yaml and server.py. Texts are taken as they are: a `$` in them refers to nothing."""
    project.write("server.py", SERVER)
    project.config(json.dumps({"services": services, **more}, ensure_ascii=False).replace("${", "$${"))


def ask(report: Mapping[str, Any], service: str = "api", *, port: str | None = None) -> dict[str, Any]:
    """What `SERVER` says of itself."""
    prefix = service.upper() if port is None else f"{service.upper()}_{port.upper()}"
    address = f"http://127.0.0.1:{report['variables'][f'{prefix}_PORT']}/"
    with urllib.request.urlopen(address, timeout=5) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def pids(project: Project, *words: str) -> list[int]:
    """The project's processes in whose arguments all of `words` stand."""
    return [pid for pid, process in project.processes().items() if all(word in process.command for word in words)]


def lines(text: str, *wanted: str) -> Sequence[str]:
    """Which of `wanted` are missing in a text."""
    return [line for line in wanted if line not in text]
