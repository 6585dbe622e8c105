"""Secrets as the Compose document refers to them: by name, never by value.

A secret reaches a container as a file made from a variable of the Compose process. Where a value must stand inside a
text (a URL in the environment of a user's service), a marker goes through the kinds' pure code like any password and
becomes `${VARIABLE}` in the written document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from envctl import kinds
from envctl.model import EnvironmentSpec

_MARKER = re.compile(r"EnvctlSecret(?P<name>[A-Z0-9_]+)Marker")


def variable(service: str, secret: str) -> str:
    """Name of the variable of the Compose process that holds a secret."""
    return f"ENVCTL_SECRET_{service}_{secret}".upper().replace("-", "_")


def secret_name(service: str, secret: str) -> str:
    """The secret's name in the Compose document, which is also its file name under /run/secrets."""
    return f"{service}_{secret}"


def markers(spec: EnvironmentSpec) -> dict[str, dict[str, str]]:
    """A marker in the place of every secret, in the shape of a stack's credentials."""
    return {
        name: {secret: f"EnvctlSecret{variable(name, secret)}Marker" for secret in kinds.get(service.kind).secrets}
        for name, service in spec.services.items()
    }


def interpolation(text: str) -> str:
    """`text` as Compose must see it: `$` doubled so that it stays literal, markers as `${VARIABLE}`."""
    return _MARKER.sub(lambda found: "${" + found["name"] + "}", text.replace("$", "$$"))


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with the secrets in the place of their markers.

    Args:
        text: As the definition of a process holds it.
        values: As `environment` gives them.
    """
    return _MARKER.sub(lambda found: values[found["name"]], text)


def environment(credentials: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The variables the Compose process needs."""
    return {
        variable(service, secret): value
        for service, secrets in credentials.items()
        for secret, value in secrets.items()
    }
