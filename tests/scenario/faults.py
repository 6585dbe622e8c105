"""Ways to break things on purpose: a `docker` that kills its caller, a proxy in front of the engine, small disks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness import Project, eventually

_WRAPPER = """\
#!/bin/sh
# The real docker, which writes down its calls and may kill its caller at one of them.
real='{real}' calls='{calls}'
set -C
number=1
while ! {{ true > "$calls/$number"; }} 2>/dev/null; do number=$((number + 1)); done
printf '%s\\n' "$*" >| "$calls/$number"
[ -e "$calls/fault" ] || exec "$real" "$@"
{{ read -r mode; read -r which; read -r words; }} < "$calls/fault"
case " $* " in
*" $words "*)
    time=1
    while ! {{ true > "$calls/time-$time"; }} 2>/dev/null; do time=$((time + 1)); done
    [ "$time" = "$which" ] || exec "$real" "$@"
    case "$mode" in
    before) kill -KILL $PPID; exit 1 ;;
    after) "$real" "$@"; kill -KILL $PPID; exit 1 ;;
    orphaned) trap '' TERM; kill -KILL $PPID ;;
    esac ;;
esac
exec "$real" "$@"
"""


def processes(*words: str) -> list[int]:
    """Processes in whose arguments all these words occur."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
            if int(entry.name) != os.getpid() and all(word in arguments for word in words):
                found.append(int(entry.name))
    return found


def slack_s(project: Project) -> float:
    """What to allow beside a limit under test: several times what a command that does nothing takes here and now."""
    return 2 + 4 * project.run("ls", check=True).seconds


def real_docker() -> str:
    """Absolute path of the docker program."""
    found = shutil.which("docker")
    assert found is not None
    return found


@dataclass
class CountingDocker:
    """A `docker` in front of the real one that counts its calls, so that envctl can be killed at any one of them.

    Nothing in envctl knows of it: it stands earlier on PATH.
    """

    folder: Path

    @classmethod
    def of(cls, project: Project) -> CountingDocker:
        """Put it into the project's folder."""
        made = cls(project.folder / "bin")
        made._calls.mkdir(parents=True)
        program = made.folder / "docker"
        program.write_text(_WRAPPER.format(real=real_docker(), calls=made._calls))
        program.chmod(0o755)
        return made

    @property
    def _calls(self) -> Path:
        return self.folder / "calls"

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for the call of envctl that is to use it."""
        return {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}

    def kill_at(self, words: str, mode: str, *, time: int = 1) -> Mapping[str, str]:
        """Kill the caller at one of its calls; variables for the call of envctl that is to die.

        Args:
            words: In the call's arguments: "volume rm".
            mode: "before" it is made, "after" it was answered, or "orphaned": the caller dies, the call goes on.
            time: At which of the calls with these words, counted from 1.
        """
        self.forget()
        (self._calls / "fault").write_text(f"{mode}\n{time}\n{words}\n")
        return self.environ

    def forget(self) -> None:
        """Forget the calls so far, and kill nobody any more."""
        for file in self._calls.iterdir():
            file.unlink()

    @property
    def calls(self) -> list[str]:
        """The arguments of each call so far, in order."""
        numbered = sorted(
            (file for file in self._calls.iterdir() if file.name.isdigit()), key=lambda file: int(file.name)
        )
        return [file.read_text().strip() for file in numbered]


_ENGINE_SOCKET = "/var/run/docker.sock"


@dataclass
class EngineProxy:
    """A Unix socket in front of the engine that breaks the calls a test chooses. Each connection carries one request.

    Attributes:
        path: Its socket.
        seen: Method and path of each request, in order.
        own: Those of them that envctl made itself, not one of Docker's programs.
        broken: Those of them that were broken.
    """

    path: Path
    seen: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _rule: tuple[re.Pattern[str], int, str] | None = None
    _refusal: bytes = b"{}"
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for a call of envctl that is to use it."""
        return {"DOCKER_HOST": f"unix://{self.path}"}

    def break_call(self, pattern: str, how: str, *, time: int = 1, words: str = "a test broke the engine") -> None:
        """Break one request from now on; the ones after it work.

        Args:
            pattern: Found in "METHOD /path" without the API version: "POST /containers/create".
            how: "refuse" (500), "drop" (not forwarded, closed), "lost" (done, but the answer is dropped), "hang",
                "killed" (who asks dies, the engine hears nothing), "orphaned" (who asks dies, the engine does it) or
                "late" (the engine does it a little after who asks has gone away).
            time: Which of those that match, counted from now and from 1; 0 breaks all.
            words: What a refused request is answered with.
        """
        with self._lock:
            self._rule = (re.compile(pattern), time, how)
            self._refusal = json.dumps({"message": words}).encode()
            self._clear()

    def forget(self) -> None:
        """Forget the requests so far, and break none any more."""
        with self._lock:
            self._rule = None
            self._clear()

    def _clear(self) -> None:
        for calls in (self.broken, self.seen, self.own):
            calls.clear()

    def _fault(self, call: str, pid: int) -> str | None:
        with self._lock:
            self.seen.append(call)
            if not _name(pid).startswith("docker"):
                self.own.append(call)
            if self._rule is None or not self._rule[0].search(call):
                return None
            pattern, time, how = self._rule
            if time not in (0, sum(bool(pattern.search(earlier)) for earlier in self.seen)):
                return None
            self.broken.append(call)
            return how

    def serve(self, client: socket.socket) -> None:
        """Carry one connection's request to the engine and back."""
        with ExitStack() as stack:
            self._keep(stack, client)
            head = _read_head(client)
            if not head:
                return
            method, target, *_ = head.split(b"\r\n", 1)[0].decode().split(" ")
            how = self._fault(f"{method} {re.sub(r'^/v[0-9.]+', '', target)}", _peer(client))
            if how in ("killed", "orphaned"):
                os.kill(_peer(client), signal.SIGKILL)
            if how == "refuse":
                size = len(self._refusal)
                answer = f"HTTP/1.1 500 Broken\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
                client.sendall(answer.encode() + b"Connection: close\r\n\r\n" + self._refusal)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):  # closed with a body unread, the answer would be lost too
                    pass
            elif how == "hang":
                while client.recv(65536):
                    pass
            elif how == "late":
                head += b"".join(iter(lambda: client.recv(65536), b""))
                self._wait_for(re.compile("DELETE /volumes"), limit_s=0.4)
                self._forward(stack, client, head, answers=False)
            elif how not in ("drop", "killed"):
                self._forward(stack, client, head, answers=how not in ("lost", "orphaned"))

    def _forward(self, stack: ExitStack, client: socket.socket, data: bytes, *, answers: bool) -> None:
        engine = socket.socket(socket.AF_UNIX)
        self._keep(stack, engine)
        engine.connect(_ENGINE_SOCKET)
        engine.sendall(_one_request(data))
        _pump(client, engine, answers=answers)

    def _wait_for(self, order: re.Pattern[str], *, limit_s: float) -> None:
        """Wait until something like this was asked, but not for ever: it may never be."""
        eventually(lambda: any(map(order.search, tuple(self.seen))), limit_s=limit_s, every_s=0.005)

    def _keep(self, stack: ExitStack, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        stack.callback(self._close, connection)

    def _close(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def close(self) -> None:
        """End every connection."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def engine_proxy(project: Project) -> Iterator[EngineProxy]:
    """A proxy in front of the engine, in the project's folder."""
    proxy = EngineProxy(project.folder / "engine.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(proxy.path))
    listener.listen(128)
    workers: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            workers.append(threading.Thread(target=_quietly, args=(proxy, client), daemon=True))
            workers[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        proxy.path.unlink()
        acceptor.join(5)
        proxy.close()
        for worker in workers:
            worker.join(5)


def _quietly(proxy: EngineProxy, client: socket.socket) -> None:
    with suppress(OSError):  # one side went away, which is what the tests are about
        proxy.serve(client)


def _peer(client: socket.socket) -> int:
    """The process at the other end."""
    pid: int = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
    return pid


def _name(pid: int) -> str:
    with suppress(OSError):  # it has ended
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _read_head(client: socket.socket) -> bytes:
    """The request up to the empty line, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        if not chunk:
            return b""
        data += chunk
    return data


def _one_request(data: bytes) -> bytes:
    """The same request, after which the engine closes the connection; one that becomes a raw stream stays as it is."""
    head, body = data.split(b"\r\n\r\n", 1)
    if b"\r\nupgrade:" in head.lower():
        return data
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body


def _pump(client: socket.socket, engine: socket.socket, *, answers: bool) -> None:
    """Copy both ways until the engine has said all."""

    def upwards() -> None:
        with suppress(OSError):
            while chunk := client.recv(65536):
                engine.sendall(chunk)
            engine.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=upwards, daemon=True)
    sender.start()
    while chunk := engine.recv(65536):
        if answers:
            client.sendall(chunk)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    sender.join(5)


@contextmanager
def silent_engine(project: Project) -> Iterator[Path]:
    """A socket that accepts connections and never answers."""
    path = project.folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(128)
        yield path
