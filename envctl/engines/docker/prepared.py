"""Images that hold a service's prepared data: a stopped container, committed."""

from __future__ import annotations

import json
import os

from envctl.engines.docker import cli
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, Interrupted
from envctl.plan.labels import LABEL_PREFIX

REPOSITORY = "envctl-prepared"
PREPARED_LABEL = LABEL_PREFIX + "prepared"
"""On each such image: the key of what shaped its data."""

_STOP_S = 120
_COMMIT_LIMIT_S = 1800.0  # gigabytes, on a slow disk


def capture(where: Endpoint, handle: str, service: str, key: str) -> tuple[str, int]:
    """Stop a container cleanly and keep it as an image: its reference, and the bytes it adds to the image below.

    The name is a new one each time: containers of an older image with the same data keep what they run on.

    Args:
        where: The engine.
        handle: The container.
        service: The service's name.
        key: Of everything that shaped the data.

    Raises:
        EnvctlError: The engine refused, or its disk is full.
    """
    cli.run(where, ["stop", "--time", str(_STOP_S), handle], doing="stop a container", limit_s=_STOP_S + 30)
    reference = f"{REPOSITORY}:{key[:16]}-{service}-{os.urandom(3).hex()}"
    changes = [word for change in _labels(where, handle, key) for word in ("--change", change)]
    cli.run(where, ["commit", *changes, handle, reference], doing="keep prepared data", limit_s=_COMMIT_LIMIT_S)
    form = ["history", "--human=false", "--format", "{{.Size}}", reference]
    sizes = cli.run(where, form, doing="look at images").split()
    return reference, int(sizes[0])


def _labels(where: Endpoint, handle: str, key: str) -> list[str]:
    """A commit takes the container's labels over: emptied, the image is nobody's and no part of a Compose project."""
    text = cli.run(where, ["inspect", "--format", "{{json .Config.Labels}}", handle], doing="look at a container")
    kept: dict[str, str] = {PREPARED_LABEL: key}
    emptied = {name: "" for name in json.loads(text) if name.startswith((LABEL_PREFIX, "com.docker.compose."))}
    return [f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in {**emptied, **kept}.items()]


def remove(where: Endpoint, reference: str) -> bool:
    """Remove such an image; False where a container still runs on it. One that is gone already is fine."""
    try:
        cli.run(where, ["image", "rm", reference], doing="remove prepared data", limit_s=120)
    except Interrupted:
        raise
    except EnvctlError as error:
        return "no such image" in f"{error.cause} {' '.join(error.evidence)}".lower()
    return True
