"""HTTP/1.1, as much of it as a check needs, and the check of a user's `ready: {http: …}`."""

from __future__ import annotations

from dataclasses import dataclass

from envctl.model import Attempt
from envctl.ready.answers import not_yet, ready
from envctl.ready.base import SOCKETS, Pace
from envctl.ready.stream import Garbled, Stream, converse

_MOST_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """A GET on a published port.

    Attributes:
        host: Address.
        port: Published port.
        path: Path, with a query where needed.
        status: The one status that counts, or None for any below 400.
    """

    host: str
    port: int
    path: str
    status: int | None = None
    pace: Pace = SOCKETS

    def describe(self) -> str:
        """What is waited for."""
        wanted = "a status below 400" if self.status is None else str(self.status)
        return f"answers GET http://{self.host}:{self.port}{self.path} with {wanted}"

    def attempt(self, limit_s: float) -> Attempt:
        """One GET; redirects are not followed."""
        return converse(self.host, self.port, limit_s, self._talk)

    def _talk(self, stream: Stream) -> Attempt:
        status, _ = request(stream, self.host, self.port, self.path, {"Accept": "*/*", "Connection": "close"})
        answer = f"answered {status} to GET {self.path}"
        return ready(answer) if (status < 400 if self.status is None else status == self.status) else not_yet(answer)


def request(
    stream: Stream, host: str, port: int, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, dict[str, str]]:
    """Send a request without a body and read the head of its answer; the answer's body stays in the stream.

    Returns:
        The status and the headers, their names in lower case.

    Raises:
        Garbled: The answer is not HTTP.
    """
    address = f"[{host}]" if ":" in host else host
    fields = {"Host": f"{address}:{port}", "User-Agent": "envctl", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    stream.send("\r\n".join(lines).encode())
    beginning = stream.exactly(5)
    if beginning != b"HTTP/":
        raise Garbled(f"an HTTP answer cannot begin with {beginning!r}")
    head = stream.until(b"\r\n\r\n", _MOST_HEADER_BYTES).decode("latin-1").split("\r\n")
    words = head[0].split(" ")
    if len(words) < 2 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) == 3):
        raise Garbled(f"an HTTP answer without a status: {head[0][:40]!r}")
    pairs = (line.partition(":") for line in head[1:])
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
