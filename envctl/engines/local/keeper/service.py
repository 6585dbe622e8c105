"""One service under the keeper: how its first process is made, and what is written down of it."""

from __future__ import annotations

import errno
import os
import time

from .log import Log
from .notes import MY_START_TICKS, quietly, start_ticks, to_json, write_atomic

try:  # the C part alone: `signal` makes enums of everything, which takes as long as the rest of the keeper's start
    import _signal as signal  # type: ignore[import-not-found]  # a part of the interpreter
except ImportError:
    import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

_NO_PROGRAM = 127  # as shells have it
_PRIVATE = 0o077


class Service:
    """One service: its first process, and the pipe its output comes through.

    Args:
        request: name, folder, argv, cwd, environment, account ([uid, gid] or null), stdin (text, may be empty), cookie,
            boot_id, log_limit_bytes; umask, where what it makes is not for its user alone.

    Attributes:
        pid: Its first process.
        output: Our end of the pipe, or -1 when the last process that could write has ended.
        verdict: Where a failure to run the program is told, or -1 when it is known whether it runs.
        input: Our end of its standard input, or -1 when it has all of its text.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.name: str = request["name"]
        self.program: str = request["argv"][0]
        self.text: bytes = request["stdin"].encode(errors="surrogateescape")
        self.log = Log(f"{request['folder']}/log", request["log_limit_bytes"])
        self.pid, self.output, self.verdict, self.input = 0, -1, -1, -1
        self._folder: str = request["folder"]
        self._cookie: str = request["cookie"]
        self._boot_id: str = request["boot_id"]
        self._request = request

    def spawn(self) -> None:
        """Start it. It is written down before its program runs, so whoever comes after us finds it.

        Raises:
            OSError: It was not started.
        """
        theirs: list[int] = []
        try:
            gate, opener = os.pipe()
            theirs += gate, opener
            self.output, writer = os.pipe()
            theirs.append(writer)
            self.verdict, teller = os.pipe()
            theirs.append(teller)
            reader = self._input()
            theirs.append(reader)
            self.pid = os.fork()
            if self.pid == 0:
                os.close(opener)  # or it would not see the keeper die
                self._become(gate, teller, reader, writer)
            self._write_down()
            os.write(opener, b"g")
        except OSError:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)  # closing the opener unused ends the child
            self._request = {}  # it holds secrets, and memory
        for fd in (self.output, self.verdict, self.input):
            if fd >= 0:
                os.set_blocking(fd, False)

    def close(self) -> None:
        """Let go of everything."""
        for fd in (self.output, self.verdict, self.input):
            if fd >= 0:
                os.close(fd)
        self.output = self.verdict = self.input = -1
        self.log.close()

    def note_end(self, exit_code: int) -> None:
        """Write down how it ended. On a full disk its exit code is not known later, and that is all."""
        record = {"cookie": self._cookie, "exit_code": exit_code, "ended_at_s": time.time()}
        quietly(write_atomic, f"{self._folder}/exit.json", to_json(record))

    def _write_down(self) -> None:
        process = {"boot_id": self._boot_id, "pid": self.pid, "start_ticks": start_ticks(self.pid)}
        keeper = {"boot_id": self._boot_id, "pid": os.getpid(), "start_ticks": MY_START_TICKS}
        record = {"process": process, "keeper": keeper, "cookie": self._cookie, "started_at_s": time.time()}
        write_atomic(f"{self._folder}/process.json", to_json(record))

    def _input(self) -> int:
        """What the child reads: a pipe where there is a text, as that leaves no trace of it."""
        if not self.text:
            return os.open(os.devnull, os.O_RDONLY)
        reader, self.input = os.pipe()
        return reader

    def _become(self, gate: int, teller: int, reader: int, writer: int) -> NoReturn:
        """In the child: become the program, once the keeper has written us down."""
        step = "start"
        try:
            os.setsid()
            if not os.read(gate, 1):
                os._exit(_NO_PROGRAM)  # the keeper is gone, or could not write us down
            for fd, number in ((reader, 0), (writer, 1), (writer, 2)):
                os.dup2(fd, number)
            _default_signals()
            os.umask(self._request.get("umask", _PRIVATE))
            step = "account"
            _switch(self._request["account"], writer)
            step = "chdir"
            os.chdir(self._request["cwd"])
            step = "exec"
            _execute(self._request["argv"], self._request["environment"])
        except OSError as error:
            quietly(os.write, teller, f"{error.errno or 0} {step}".encode())
        except BaseException:  # noqa: BLE001 - a NUL in an argument, say; whatever it is, the child must not go on
            quietly(os.write, teller, f"{errno.EINVAL} {step}".encode())
        finally:
            os._exit(_NO_PROGRAM)


def _switch(account: list[int] | None, writer: int) -> None:
    """Become another user, for good; its programs may open /dev/stdout."""
    if account is None:
        return
    user, group = account
    os.fchown(writer, user, group)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def _execute(argv: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Run the program, found in the service's own PATH. `os.execvpe` imports a module, which another user may not read.

    Raises:
        OSError: It is nowhere, or the first that was found cannot be run.
    """
    program = argv[0]
    paths = [""] if "/" in program else environment.get("PATH", os.defpath).split(":")
    failure: OSError | None = None
    for path in paths:
        try:
            os.execve(f"{path}/{program}" if path else program, argv, environment)  # noqa: S606 - there is no shell on purpose
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failure = failure or error
    raise failure or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _default_signals() -> None:
    """What a program expects: Python ignores some signals, the keeper more, and a child inherits that."""
    for number in range(1, signal.NSIG):
        try:  # noqa: SIM105 - contextlib is not imported here
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # SIGKILL, SIGSTOP, and those the C library keeps
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
