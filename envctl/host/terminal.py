"""Making text from elsewhere safe to show: no control sequence, no secret, no endless line.

Elsewhere is everything a service, an image, a branch name or a file says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# Masking each place where a two-letter word occurs would make a text unreadable and give the word away.
_SHORTEST_MASKED = 4

# C0 and C1 controls, DEL; what changes the direction or order of text (bidi embeddings, overrides, isolates, marks);
# line and paragraph separators; zero-width and tag characters, which hide; the byte order mark; lone surrogates,
# which cannot be encoded. A tab stays.
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def escape(text: str, *, limit: int | None = None, keep_newlines: bool = False) -> str:
    r"""Text whose unsafe characters are visible escapes: an ESC becomes the four characters `\x1b`.

    Text that was escaped before stays as it is, so escaping twice does no harm.

    Args:
        text: Anything.
        limit: Cut each line after so many characters and say how many are missing; None for no limit.
        keep_newlines: Keep line feeds (and drop the carriage return of a CRLF).
    """
    if keep_newlines:
        lines = text.replace("\r\n", "\n").split("\n")
        return "\n".join(escape(line, limit=limit) for line in lines)
    missing = 0 if limit is None else max(0, len(text) - limit)
    if missing:  # cut first: a megabyte need not be searched
        text = text[:limit]
    safe = _UNSAFE.sub(_visible, text)
    return f"{safe}… (+{missing} characters)" if missing else safe


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _SHORT:
        return _SHORT[code]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_SHORT = {0x0A: "\\n", 0x0D: "\\r"}


class Redactor:
    """Replaces secrets in a text by `***`, also where they are written as in a URL, in JSON or in base64.

    Args:
        secrets: The secrets. One of fewer than four characters is ignored: it would occur everywhere.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_MASKED for form in _forms(secret)}
        # The longest first, or a secret that begins with another one would be left with its tail showing.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def __repr__(self) -> str:
        return "Redactor(***)"


def _forms(secret: str) -> set[str]:
    from json import dumps
    from urllib.parse import quote, quote_plus

    raw = secret.encode("utf-8", "surrogatepass")
    lower = re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(raw, safe=""))
    in_url = {quote(raw, safe=""), quote(raw), quote_plus(raw), lower}
    in_json = {dumps(secret)[1:-1], dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret} | in_url | in_json | _base64_forms(raw)


def _base64_forms(raw: bytes) -> set[str]:
    """The secret in base64 wherever it stands in what was encoded.

    Base64 groups three bytes, so the secret has three forms by its offset; at each end the characters that also
    depend on its neighbours ("user:SECRET") are left out.
    """
    from base64 import b64encode, urlsafe_b64encode

    forms = set()
    for offset in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(b"\0" * offset + raw).decode()
            inner = text[(0, 2, 3)[offset] : len(text.rstrip("=")) - (1 if text.endswith("=") else 0)]
            if len(inner) >= _SHORTEST_MASKED:
                forms.add(inner)
    return forms
