"""Names: which environment belongs to a checkout and branch, and what it is called. Pure."""

from __future__ import annotations

import re

from envctl.errors import UsageError
from envctl.model import Checkout, Identity

NAME_LENGTH = 48
"""Most characters of an environment's name. With a service's name behind it, a DNS label (63) still has room."""

_HASH_DIGITS = 8
_FALLBACK = "env"
_LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def identify(checkout: Checkout, project: str | None, label: str = "") -> Identity:
    """The environment that belongs to `checkout`.

    Args:
        checkout: Where we stand.
        project: The configuration's name, or None for the checkout's folder name.
        label: The `--name` option, checked by `check_label`, or "".
    """
    shown_project = _text(project or checkout.folder or _FALLBACK)
    branch = _composed(_text(checkout.branch))
    key = _key(checkout.root, branch, label)
    return Identity(
        project=shown_project,
        branch=branch,
        checkout=_text(checkout.root),
        label=label,
        key=key,
        name=_name((shown_project, branch, label), key[:_HASH_DIGITS]),
    )


def stack_project(name: str, registry_id: str = "") -> str:
    """The Compose project of an environment, which its engine can have only once.

    Args:
        name: The environment's name.
        registry_id: Where others share the engine that have a checkout of the same path and a registry of their own, as
            the containers of CI jobs: our registry's id. At most 63 characters come of it, a DNS label.
    """
    return f"envctl-{name}-{registry_id[:7]}" if registry_id else f"envctl-{name}"


def check_label(text: str) -> str:
    """`text`, if it may be the name of a second environment (`--name`).

    Raises:
        UsageError: It may not. It is never changed silently: two spellings would be one environment.
    """
    if not re.fullmatch(_LABEL, text):
        raise UsageError(
            f"--name {text!r} is not a valid name",
            cause="allowed are 1 to 40 letters, digits, dots, underscores and hyphens, the first a letter or digit: "
            f"{_LABEL}",
            fix=["choose a name such as `--name e2e` or `--name load-test`"],
            subject={"name": text},
        )
    return text


def slug(text: str) -> str:
    """`text` in lower-case ASCII letters, digits and single hyphens, none at an end; "" if nothing of it is left."""
    if not text.isascii():
        text = _without_accents(text)
    return "-".join("".join(c if c in _SAFE else " " for c in text.lower()).split())


def _key(root: str, branch: str, label: str) -> str:
    """SHA-256 over the three, each behind its length, so that no two triples read the same."""
    import hashlib  # here, because OpenSSL takes 3 ms to load, which a list of names does not need

    digest = hashlib.sha256()
    for part in (root, branch, label):
        data = part.encode("utf-8", "surrogatepass")  # a path may hold bytes that the system could not decode
        digest.update(b"%d:%s," % (len(data), data))
    return digest.hexdigest()


def _name(parts: tuple[str, ...], suffix: str) -> str:
    slugs = [s for s in map(slug, parts) if s]
    if not slugs or not slugs[0][0].isalpha():
        slugs.insert(0, _FALLBACK)  # a name starts with a letter
    room = NAME_LENGTH - len(suffix) - len(slugs)
    return "-".join([*_fitted(slugs, room), suffix])


def _fitted(slugs: list[str], room: int) -> list[str]:
    """The slugs, the longest ones cut, so that they hold at most `room` characters together."""
    limits = [0] * len(slugs)
    by_length = sorted(range(len(slugs)), key=lambda index: len(slugs[index]))
    for position, index in enumerate(by_length):
        limits[index] = min(len(slugs[index]), room // (len(slugs) - position))
        room -= limits[index]
    return [text[:limit].rstrip("-") for text, limit in zip(slugs, limits, strict=True)]


def _composed(text: str) -> str:
    """Unicode NFC: file systems and keyboards differ in how they write the same accent."""
    if text.isascii():
        return text
    import unicodedata

    return unicodedata.normalize("NFC", text)


def _without_accents(text: str) -> str:
    import unicodedata

    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _text(text: str) -> str:
    r"""`text` as UTF-8 can hold it: bytes that the system could not decode become `\udcff` in letters."""
    return text.encode("utf-8", "backslashreplace").decode()
