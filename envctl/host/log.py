"""The log for those who ask for it (`-v`, `--log-format`), and the one redactor before every log, error and report.

Until `configure` is called a logger does nothing, costs nothing and imports nothing: structlog takes 60 ms to import.

    log = get_logger()
    log.debug("created", container="shop-1")
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal

from envctl.host.terminal import MASK, Redactor, escape

# A password in a URL gives itself away, whoever's it is: `postgresql://app:PASSWORD@host`, `redis://:PASSWORD@host`.
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/?#@'\"]*):([^\s/?#@'\"]+)@")

_Sink = Callable[[str, str, Mapping[str, object]], None]

_secrets: set[str] = set()
_redactor: Redactor | None = None
_sink: _Sink | None = None


class Logger:
    """Names an event and its fields at a level. Safe to make at import time: it finds the log when it is used."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object] | None = None) -> None:
        self._fields = fields or {}

    def bind(self, **fields: object) -> Logger:
        """A logger that adds these fields to each of its events."""
        return Logger({**self._fields, **fields})

    def debug(self, event: str, /, **fields: object) -> None:
        """A step that was taken."""
        self._log("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Something that changed."""
        self._log("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Something that is wrong but did not stop the work."""
        self._log("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something that stopped the work."""
        self._log("error", event, fields)

    def _log(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        if _sink is not None:
            _sink(level, event, {**self._fields, **fields})


def get_logger() -> Logger:
    """A logger. Nothing is written before `configure`."""
    return Logger()


def configure(form: Literal["console", "json"]) -> None:
    """Write all events to stderr from now on, one line each. A closed stderr stops the log, never the work."""
    global _sink
    import structlog

    renderer = (
        structlog.processors.JSONRenderer(default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    processors: list[Any] = [structlog.processors.TimeStamper(fmt="iso", utc=True), _clean, renderer]
    logger = structlog.wrap_logger(_Stderr(), processors=processors, wrapper_class=structlog.BoundLogger)

    def sink(level: str, event: str, fields: Mapping[str, object]) -> None:
        own = {f"{key}_" if key in {"event", "level", "timestamp"} else key: value for key, value in fields.items()}
        logger.msg(event, level=level, **own)

    _sink = sink


class _Stderr:
    """Where the lines go."""

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _clean(logger: object, name: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001 - structlog's signature
    """A structlog processor: no secret and no control character leaves."""
    return {key: _clean_value(value) for key, value in fields.items()}


def _clean_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _clean_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean_value(item) for item in value]
    safe = escape(redact(str(value)))
    if "GITHUB_ACTIONS" in os.environ:
        from envctl.plan.ci.commands import harmless

        safe = harmless(safe)
    return safe


def keep_secret(values: Iterable[str]) -> None:
    """Mask these values in everything this process logs or reports from now on; whoever learns of one calls this."""
    global _redactor
    fresh = set(values) - _secrets
    if fresh:
        _secrets.update(fresh)
        _redactor = None


def redact(text: str) -> str:
    """The text without any secret that `keep_secret` was told of, and without passwords in URLs."""
    global _redactor
    if _redactor is None:
        _redactor = Redactor(_secrets)
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", _redactor(text))
