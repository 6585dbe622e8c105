"""The watcher of a session: a tiny process that ends it when the process it belongs to has ended without a word.

It waits on a pipe, so even `kill -9` wakes it, and on the process itself where the kernel can tell of that: a fork of
the process may hold the pipe open for longer. Then it becomes the reaper, which removes what nobody uses any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from envctl.host import background, heartbeat, owner, paths, signals
from envctl.host.files import cannot_write
from envctl.model import Owner

_PROGRAM = Path(__file__).with_name("run.py")
_OPTIONS = ("-I", "-S", "-X", "utf8")  # nothing of the caller's Python reaches it: it is to be small, and there at once
_REAPER = "envctl.reaper"


class Watcher:
    """A watcher, from the side of the process that started it.

    Args:
        state: The state directory.
        session_id: The session it watches.
        of: The process it belongs to: this one or another.
        environ: The caller's variables; the reaper needs those that lead to the engine.

    Raises:
        CannotWrite: There is no room for its heartbeat's folder.
        OSError: It cannot be started.
    """

    def __init__(self, state: Path, session_id: str, of: Owner, environ: Mapping[str, str]) -> None:
        beat = heartbeat.path(state, session_id)
        try:
            paths.make_private(beat.parent)
        except OSError as error:
            raise cannot_write(beat.parent, error) from error
        self._owner_pid = of.pid
        own = of.pid == os.getpid()
        self._announced = ExitStack()
        reader, self._pipe = os.pipe()
        reaper = [*background.python(_REAPER), "session", str(state), session_id]
        watched = [str(of.pid), str(of.start_ticks), "pipe" if own else "process"]
        program = [sys.executable, *_OPTIONS, str(_PROGRAM), str(beat), str(heartbeat.BEAT_S), *watched, *reaper]
        try:
            self._pid = background.start(program, environ, stdin=reader)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reader)
        if own:
            self._announced.enter_context(signals.outlived())

    def begins(self) -> None:
        """To be called in a process of ours that is about to become a program: if we are killed, its group is ended.

        By the new process, so that there is no moment at which the program runs and nobody knows of it.
        """
        me = owner.current()
        self._tell(f"child {me.pid} {me.start_ticks}\n")
        if os.getppid() != self._owner_pid:  # killed meanwhile: nobody may have heard it
            os._exit(1)

    def dismiss(self) -> None:
        """The session has ended in good order: nothing is left to watch. Again does nothing."""
        if self._pipe < 0:
            return
        self._tell("done\n")
        self.leave()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def leave(self) -> None:
        """Let it go on by itself. One that watches us takes it for our end, and ends the session."""
        self._announced.close()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # it was killed; the next envctl command does its work
            os.write(self._pipe, line.encode())
