"""Signals, sent to real child processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

PRELUDE = """
import select, signal, sys
from contextlib import ExitStack
from envctl.errors import EngineFailed, Interrupted
from envctl.host import signals
from envctl.host.signals import farewell, interruptible, outlived, shielded
signals.ECHO_S = 0.0
say = lambda text: print(text, flush=True)

def wait_for_input():
    # A plain read would not notice a signal that arrives just before it blocks; this looks again and again.
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        pass
"""


class Child:
    """A Python program that talks in lines."""

    def __init__(self, stack: ExitStack, code: str, wrapper: tuple[str, ...] = ()) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [*wrapper, sys.executable, "-c", PRELUDE + code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self.process.kill)

    def expect(self, line: str) -> None:
        """Wait for the next line."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Close its input, wait for its end: exit code, rest of stdout, stderr."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_as_interrupted(stack: ExitStack, number: int) -> None:
    """Each of the three signals unwinds the main thread with an error that knows its exit code."""
    child = Child(
        stack,
        """
with interruptible():
    try:
        say("here")
        wait_for_input()
    except Interrupted as error:
        say(f"exit {error.exit}")
""",
    )
    child.expect("here")
    child.send(number)
    child.expect(f"exit {128 + number}")
    assert child.end()[0] == 0


def test_a_shielded_block_ends_before_the_signal_is_raised(stack: ExitStack) -> None:
    """A first signal during a clean-up waits for its end."""
    child = Child(
        stack,
        """
signals.ECHO_S = 1000.0  # the second signal below is the first one's echo
try:
    with interruptible():
        with shielded():
            with shielded():
                say("cleaning")
                wait_for_input()
                say(sys.stdin.readline().strip())
            say("still shielded")
        say("never")
except Interrupted as error:
    say(f"exit {error.exit}")
""",
    )
    child.expect("cleaning")
    child.send(signal.SIGTERM)
    child.send(signal.SIGTERM)
    assert child.process.stdin is not None
    child.process.stdin.write("cleaned\n")
    child.process.stdin.flush()
    for line in ("cleaned", "still shielded", f"exit {128 + signal.SIGTERM}"):
        child.expect(line)
    assert child.end() == (0, "", "")


def test_a_second_signal_during_a_clean_up_ends_at_once_and_says_what_is_left(stack: ExitStack) -> None:
    """The second signal names what is left, gives the terminal back and skips everything else."""
    child = Child(
        stack,
        r"""
with interruptible(), farewell(lambda: say("cursor")):
    try:
        say("here")
        wait_for_input()
    except Interrupted:
        with shielded(left=lambda: ["container shop-1", "volume caf\udce9"]):
            say("rolling back")
            wait_for_input()
    finally:
        say("never")
""",
    )
    child.expect("here")
    child.send(signal.SIGINT)
    child.expect("rolling back")
    child.send(signal.SIGTERM)
    child.expect("cursor")
    code, out, err = child.end()
    assert (code, out) == (128 + signal.SIGTERM, "")
    assert "container shop-1" in err
    assert "volume caf\\udce9" in err


def test_repeated_hang_ups_do_not_end_a_clean_up(stack: ExitStack) -> None:
    """A closing terminal that hangs up twice still gets a whole clean-up."""
    child = Child(
        stack,
        """
with interruptible():
    try:
        say("here")
        wait_for_input()
    except Interrupted:
        with shielded():
            say("rolling back")
            wait_for_input()
            say("done")
""",
    )
    child.expect("here")
    child.send(signal.SIGHUP)
    child.expect("rolling back")
    child.send(signal.SIGHUP)
    assert child.end() == (0, "done\n", "")


def test_a_signal_during_a_failed_clean_up_keeps_what_the_failure_knew(stack: ExitStack) -> None:
    """The interruption carries the failure's state and leftovers, and the failure as its cause."""
    child = Child(
        stack,
        """
try:
    with interruptible(), shielded():
        say("cleaning")
        wait_for_input()
        raise EngineFailed("no", state="half removed", leftovers=["network n"])
except Interrupted as error:
    say(f"{error.state} {error.leftovers} {type(error.__cause__).__name__}")
""",
    )
    child.expect("cleaning")
    child.send(signal.SIGINT)
    assert child.end() == (0, "half removed ('network n',) EngineFailed\n", "")


def test_a_bug_in_a_shielded_block_is_not_hidden_by_a_signal(stack: ExitStack) -> None:
    """An unexpected exception wins over a delayed signal: it has to be reported."""
    child = Child(
        stack,
        """
try:
    with interruptible(), shielded():
        say("cleaning")
        wait_for_input()
        raise KeyError("bug")
except KeyError:
    say("bug seen")
""",
    )
    child.expect("cleaning")
    child.send(signal.SIGINT)
    assert child.end() == (0, "bug seen\n", "")


def test_last_words_name_who_does_the_rest(stack: ExitStack) -> None:
    """Where a process in the background finishes the clean-up nobody is told to do it; blocks need not be nested."""
    child = Child(
        stack,
        """
with interruptible(), ExitStack() as first, ExitStack() as second:
    first.enter_context(outlived())
    second.enter_context(outlived())
    first.close()
    with shielded(left=lambda: ["environment shop"]):
        say("cleaning")
        wait_for_input()
""",
    )
    child.expect("cleaning")
    child.send(signal.SIGINT)
    child.send(signal.SIGTERM)
    code, _, err = child.end()
    assert code == 143
    assert "environment shop" in err
    assert "in the background" in err
    assert "envctl down" not in err


def test_ignored_signals_stay_ignored(stack: ExitStack) -> None:
    """Under nohup a hang-up does nothing."""
    child = Child(
        stack,
        """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interruptible():
    say("here")
    wait_for_input()
    say("survived")
""",
    )
    child.expect("here")
    child.send(signal.SIGHUP)
    assert child.end() == (0, "survived\n", "")


def test_handlers_are_put_back() -> None:
    """After the block the program's own handlers are in place again, also when blocks were nested."""
    from envctl.host.signals import SIGNALS, interruptible

    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible(), interruptible():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_without_interruptible_a_shield_does_nothing() -> None:
    """A library user's own signal handling is left alone."""
    from envctl.host.signals import shielded

    with pytest.raises(KeyboardInterrupt), shielded():
        signal.raise_signal(signal.SIGINT)
