"""The process: settings, logging, signals, exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from .logs import Redactor, configure, event
from .server import CannotListen, Server
from .settings import Settings, SettingsError, load

EX_OSERR = 71
EX_CONFIG = 78


def start() -> int:
    """Run the server; return the process's exit code."""
    try:
        settings = load(os.environ)
    except SettingsError as error:
        _complain(*error.problems)
        return EX_CONFIG
    redact = Redactor(settings.secrets)
    configure(settings.log_level, redact)
    try:
        asyncio.run(_serve(settings, redact))
    except CannotListen as error:
        _complain(f"HOST, PORT: {error}")
        return EX_OSERR
    except Exception as error:  # a bug; told like everything else, without secrets
        event("crashed", level=logging.CRITICAL, exc_info=error)
        raise SystemExit(1) from error
    return 0


async def _serve(settings: Settings, redact: Redactor) -> None:
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        event("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    await Server(settings, redact).run(stop)
    # Everything is closed. An ordinary exit would still wait for a thread that resolves the name of a dependency,
    # which takes many seconds where name resolution is broken.
    os._exit(0)


def _complain(*problems: str) -> None:
    for problem in problems:
        sys.stderr.write(f"wsserver: {problem}\n")
