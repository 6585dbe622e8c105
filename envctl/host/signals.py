"""Signals become one exception, so that `except` and `finally` clean up; a second one ends the program at once.

    with interruptible():              # the command line does this once, around everything
        try:
            build()
        except EnvctlError:
            with shielded(left=names_of_what_still_exists):
                roll_back()            # not torn apart by the signal that caused it, nor by its echo
            raise

Outside the main thread, and in a program that has not called `interruptible`, everything here does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from types import FrameType

from envctl.errors import EnvctlError, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Ctrl-C reaches the whole process group, and runners such as `npm run` or `uv run` forward it as well: the same
# key press arrives twice. Within this time a second signal counts as the first one's echo.
ECHO_S = 0.3


def _nothing() -> Sequence[str]:
    return ()


@dataclass(slots=True)
class _State:
    """What has arrived so far in this process."""

    active: bool = False
    first: int | None = None
    first_at_s: float = 0.0
    delayed: bool = False
    successors: int = 0
    shields: list[Callable[[], Sequence[str]]] = field(default_factory=list)
    farewells: list[Callable[[], None]] = field(default_factory=list)


_state = _State()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into `Interrupted`, raised once in the main thread.

    Signals that were ignored when the program started (`nohup`, background jobs of a script) stay ignored.
    Nested use has no effect of its own.

    Raises:
        Interrupted: At whatever point the main thread is when the signal arrives.
    """
    if _state.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.active, _state.first, _state.delayed = True, None, False
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _arrived)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.active = False


@contextmanager
def shielded(left: Callable[[], Sequence[str]] = _nothing) -> Iterator[None]:
    """Run a clean-up to its end: a first signal is kept and raised when the block ends, a second one ends the program.

    Args:
        left: Names what still exists, for the last words after a second signal. Called within the signal handler:
            it must not take a lock or wait for anything.

    Raises:
        Interrupted: After the block, where a signal arrived in it. An error of the block becomes its cause.
    """
    if not _state.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        _state.shields.append(left)
        try:
            yield
        finally:
            _state.shields.pop()
    except EnvctlError as error:
        if _take_delayed():
            raise _late(error) from error
        raise
    if _take_delayed():
        raise _late(None)


@contextmanager
def farewell(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` before the program is ended by a second signal: to give a terminal its cursor back.

    Blocks need not be nested: one that was entered later may end later.
    """
    _state.farewells.append(callback)
    try:
        yield
    finally:
        _state.farewells.remove(callback)


@contextmanager
def outlived() -> Iterator[None]:
    """Whoever ends the program in this block by a second signal is told that another process does the rest.

    Blocks need not be nested.
    """
    _state.successors += 1
    try:
        yield
    finally:
        _state.successors -= 1


def _take_delayed() -> bool:
    """Whether a kept signal is to be raised now: it is, once, when the outermost shield has ended."""
    if _state.shields or not _state.delayed:
        return False
    _state.delayed = False
    return True


def _late(failure: EnvctlError | None) -> Interrupted:
    if failure is None:
        return Interrupted(_state.first or signal.SIGINT)
    return Interrupted(_state.first or signal.SIGINT, state=failure.state, leftovers=failure.leftovers)


def _arrived(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
    if _state.first is None:
        _state.first, _state.first_at_s = number, monotonic()
        if _state.shields:
            _state.delayed = True
            return
        raise Interrupted(number)
    # A terminal that closes can hang up more than once, and nobody is there to mean anything by it.
    if number == signal.SIGHUP or monotonic() - _state.first_at_s < ECHO_S:
        return
    _abandon(number)


def _abandon(number: int) -> None:
    """Say what is left and end, without any further clean-up. Uses only calls that are safe within a handler."""
    left: list[str] = []
    for name_left in _state.shields:
        with suppress(Exception):
            left.extend(name_left())
    for callback in _state.farewells:
        with suppress(Exception):
            callback()
    rest, fix = "the cleaning up was not finished", "envctl down"
    if _state.successors:
        rest, fix = "a process in the background does the rest", "none needed; envctl ls shows when it is done"
    lines = [f"interrupted again: {rest}", *(f"  left   {name}" for name in left), f"  fix    {fix}"]
    with suppress(OSError):
        os.write(2, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    os._exit(128 + number)
