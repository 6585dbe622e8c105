"""Logging: one JSON object a line on stderr, without secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

log = logging.getLogger("wsserver")

MASK = "***"
# Masking every place where a two-letter password occurs would make the text unreadable and give it away.
SHORTEST_MASKED = 3


class Redactor:
    """Replaces secrets in a text, also where they are written as in a URL or in JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= SHORTEST_MASKED
            for form in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])
        }
        # Longest first, so that a secret which contains another one disappears whole.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


class JsonFormatter(logging.Formatter):
    """One record as one line: time, level, event, and the fields given as ``extra={"fields": {...}}``."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._redact(json.dumps(line, default=str, ensure_ascii=False))


def configure(level: str, redact: Redactor) -> None:
    """Send all logging of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(redact))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These libraries log whole requests and URLs, and thereby the token and passwords, when something fails or
    # when debugging. What matters of it is counted or logged by this server itself.
    for library in ("websockets", "psycopg", "redis", "push_response"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def event(name: str, /, *, level: int = logging.INFO, exc_info: BaseException | None = None, **fields: object) -> None:
    """Log one event with its fields."""
    log.log(level, name, extra={"fields": fields}, exc_info=exc_info)
