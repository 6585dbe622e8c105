"""The beginning of the program, as `envctl` and as `python -m envctl`: it can be interrupted from here on.

Most of a short command's life goes by with imports, and an interrupt in them would be told as a traceback. This comes
first, and imports next to nothing itself: the module `signal` alone would take milliseconds.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what `signal` is made of; a part of the interpreter
import os

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, whose import takes 10 ms
if TYPE_CHECKING:
    from typing import NoReturn

_CODE = 130


def main() -> NoReturn:
    """Run the program. An interrupt before it can clean up anything, or after it has, ends it without a word."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else it is ignored, as with `nohup`
        _signal.signal(_signal.SIGINT, _end)
    from envctl.cli.main import main as run

    run()


def _end(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - the signature of a signal handler
    os._exit(_CODE)


if __name__ == "__main__":
    main()
