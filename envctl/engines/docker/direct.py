"""Questions and orders to the engine itself, over its own interface: each costs 2 ms, a call of `docker` 30.

HTTP/1.0, so that an answer is what comes until the engine hangs up. An engine without a socket on this machine is
reached through `docker system dial-stdio`, which is also how Docker's own clients do it over SSH. Source: Docker Engine
API reference.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from envctl.engines.docker.reaching import denied, unreachable
from envctl.errors import EngineTimeout
from envctl.host import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from subprocess import Popen
    from typing import Any

    from envctl.engines.docker.endpoint import Endpoint

_FINE = 400  # below it the engine has done what it was told, or it was so before


class Question:
    """A question under way. Ask several, then take the answers: the engine works on them side by side.

    Args:
        endpoint: The engine.
        path: What is asked for: "/version".
        options: What stands behind it, by name.
        method: "GET" to ask, "POST" or "DELETE" to order.
        body: What goes with an order, as JSON.

    Attributes:
        endpoint: The same.

    Raises:
        EngineUnreachable: Nobody listens at its socket.
        EngineDenied: This user may not use its socket.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        options: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._line = f"{method} {path}"
        self._process: Popen[bytes] | None = None
        if urlsplit(endpoint.address).scheme == "unix":
            self._stream = self._connected()
        else:
            self._stream, self._process = self._through_program()
        target = quote(path, safe="/:@") + (f"?{urlencode(options)}" if options else "")
        text = json.dumps(body) if body else ""
        form = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        form = "" if method == "GET" else form
        self._send(f"{method} {target} HTTP/1.0\r\nHost: docker\r\nAccept: application/json\r\n{form}\r\n{text}")

    def answer(self, deadline_s: float) -> tuple[bool, str]:
        """Whether the engine has what was asked for, and its answer, or what it says about it.

        Args:
            deadline_s: Until when to wait, on the monotonic clock.

        Raises:
            EngineTimeout: It has not answered by then.
            EnvctlError: It could not be asked.
        """
        try:
            head, _, body = self._everything(deadline_s).partition(b"\r\n\r\n")
        finally:
            self.end()
        words = head.split(b" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise _failed("it did not speak HTTP" if head else "it hung up", self._line)
        text = body.decode(errors="replace")
        return (True, text) if int(words[1]) < _FINE else (False, _message(text))

    def lines(self) -> Iterator[str]:
        """The lines of an endless answer, each when it comes: until the engine hangs up, or a thread calls `end`."""
        received = b""
        self._stream.settimeout(None)
        with suppress(OSError):
            while part := self._stream.recv(1 << 16):
                *whole, received = (received + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)

    def end(self) -> None:
        """Give the question up; after `answer` this does nothing."""
        with suppress(OSError):  # it is closed; otherwise a thread that waits is woken
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()

    def _connected(self) -> socket.socket:
        address = self.endpoint.address
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(0.5)  # with a time limit, an engine that accepts nothing any more says so at once
        try:
            stream.connect(urlsplit(address).path)
        except OSError as error:
            stream.close()
            make = denied if isinstance(error, PermissionError) else unreachable
            raise make(f"connect to {address}: {error.strerror or error}") from None
        return stream

    def _through_program(self) -> tuple[socket.socket, Popen[bytes]]:
        import subprocess

        from envctl.engines.docker import cli

        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [cli.program(), *self.endpoint.arguments, "system", "dial-stdio"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=cli.environment(),
                process_group=0,
            )
        return ours, process

    def _send(self, text: str) -> None:
        with suppress(OSError):  # what is wrong is told when the answer is awaited
            self._stream.sendall(text.encode())

    def _everything(self, deadline_s: float) -> bytes:
        received = bytearray()
        while True:
            self._stream.settimeout(max(deadline_s - clock.monotonic_s(), 0.001))
            try:
                part = self._stream.recv(1 << 16)
            except TimeoutError:
                raise EngineTimeout(
                    "the Docker engine did not answer in time",
                    cause=f"no answer from {self.endpoint.address} to: {self._line}",
                    fix=["look at the engine's log (journalctl -u docker), or restart it"],
                ) from None
            except OSError:
                part = b""
            if not part:
                break
            received += part
        if not received and self._process is not None and self._process.stderr is not None:
            said = self._process.stderr.read().decode(errors="replace")  # it has ended: its side is closed
            raise _failed(said, self._line)
        return bytes(received)


def answers(questions: Sequence[Question], deadline_s: float, *, doing: str) -> list[Any]:
    """What the engine answers to several questions, read as JSON. When one fails the others are given up.

    Args:
        questions: Under way.
        deadline_s: Until when to wait, on the monotonic clock.
        doing: What they are for, for the error.

    Raises:
        EnvctlError: As `Question.answer`; or the engine has not what was asked for.
    """
    try:
        return [_read(*question.answer(deadline_s), doing=doing) for question in questions]
    finally:
        for question in questions:
            question.end()


def _read(fine: bool, text: str, *, doing: str) -> Any:  # noqa: FBT001 - as `Question.answer` gives it
    try:
        if fine:
            return json.loads(text)
    except ValueError:
        text = "it hung up in the middle of its answer"
    from envctl.engines.docker.failures import classify

    raise classify(text, doing=doing)


def _failed(words: str, line: str) -> Exception:
    from envctl.engines.docker.failures import classify

    return classify(words, doing=f"answer {line}")


def _message(text: str) -> str:
    """What an engine says in place of an answer: {"message": …}."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    return str(said.get("message", text)) if isinstance(said, dict) else text
