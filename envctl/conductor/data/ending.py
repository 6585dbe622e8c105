"""The end of a maker whose data is kept: it goes while the environment that wants the data starts from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from envctl.errors import EnvctlError, Interrupted
from envctl.host.signals import shielded


class Ending:
    """Ends one maker at a time, in a thread. Killed meanwhile, it leaves what the next command sweeps."""

    def __init__(self) -> None:
        self._name = ""
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def begin(self, name: str, end: Callable[[Callable[[], None]], object]) -> None:
        """Begin, and return once nobody can use the maker any more.

        Args:
            name: The maker's environment, for what is told of an interruption.
            end: Removes it. It calls what it is given as soon as the maker is marked as being removed.
        """
        marked = Event()

        def run() -> None:
            try:
                end(marked.set)
            except Exception as error:  # noqa: BLE001 - told by who waits
                self._error = error
            finally:
                marked.set()

        self._name, self._thread = name, Thread(target=run, name="envctl-maker", daemon=True)
        self._thread.start()
        marked.wait()

    def wait(self) -> None:
        """Until it is gone, where one was begun. Raises EnvctlError where it could not be removed."""
        if self._thread is None:
            return
        with shielded(left=lambda: [f"environment {self._name}"]):
            self._thread.join()
            self._thread = None
            error, self._error = self._error, None
            if error is not None:
                raise error

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Wait at the end of the block, however that ends; the block's own error is the one that is told."""
        try:
            yield
        except BaseException:
            with suppress(EnvctlError):  # a signal too: the command ends all the same
                self.wait()
            raise
        try:
            self.wait()
        except Interrupted:
            raise
        except EnvctlError as error:
            error.state = "the environment is ready; what its data was made in is not gone yet"
            raise
