"""Images that hold a service's prepared data: a stopped container, committed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envctl.engines.docker import cli, deletion
from envctl.engines.docker.direct import Question, answers
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock
from envctl.plan import digest
from envctl.plan.labels import LABEL_PREFIX

REPOSITORY = "envctl-prepared"
PREPARED_LABEL = LABEL_PREFIX + "prepared"
"""On each such image: the key of what shaped its data."""

_STORE_LABEL = LABEL_PREFIX + "store"  # whose it is: only that store's owner removes it
_STOP_S = 120
_COMMIT_LIMIT_S = 1800.0  # gigabytes, on a slow disk


def capture(where: Endpoint, handle: str, service: str, key: str, store: Path) -> tuple[str, int]:
    """Stop a container cleanly and keep it as an image: its reference, and the bytes it adds to the image below.

    The name is a new one each time: containers of an older image with the same data keep what they run on.

    Args:
        where: The engine.
        handle: The container.
        service: The service's name.
        key: Of everything that shaped the data.
        store: The folder of the store that will know it.

    Raises:
        EnvctlError: The engine refused, or its disk is full.
    """
    deletion.stop(where, [handle], _STOP_S)
    tag = f"{key[:16]}-{service}-{os.urandom(3).hex()}"
    labels = {**_emptied(where, handle), PREPARED_LABEL: key, _STORE_LABEL: _id(store)}
    changes = "\n".join(f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in labels.items())
    options = {"container": handle, "repo": REPOSITORY, "tag": tag, "changes": changes, "pause": "0"}
    commit = Question(where, "/commit", options, method="POST")
    _answer(commit, "keep prepared data", _COMMIT_LIMIT_S)
    reference = f"{REPOSITORY}:{tag}"
    layers = _answer(Question(where, f"/images/{reference}/history"), "look at images")
    return reference, int(layers[0]["Size"])


def _emptied(where: Endpoint, handle: str) -> dict[str, str]:
    """A commit takes the container's labels over: emptied, the image is nobody's and no part of a Compose project."""
    labels = _answer(Question(where, f"/containers/{handle}/json"), "look at a container")["Config"]["Labels"]
    return {name: "" for name in labels if name.startswith((LABEL_PREFIX, "com.docker.compose."))}


def _answer(question: Question, doing: str, limit_s: float = cli.CALL_LIMIT_S) -> Any:
    return answers([question], clock.monotonic_s() + limit_s, doing=doing)[0]


def _id(store: Path) -> str:
    return digest.of([os.uname().nodename, str(store)])


def remove(where: Endpoint, reference: str) -> bool:
    """Remove such an image; False where a container still runs on it. One that is gone already is fine."""
    try:
        cli.run(where, ["image", "rm", reference], doing="remove prepared data", limit_s=120)
    except Interrupted:
        raise
    except EnvctlError as error:
        return "no such image" in f"{error.cause} {' '.join(error.evidence)}".lower()
    return True


def sweep(where: Endpoint, store: Path, is_abandoned: Callable[[str, str], bool]) -> None:
    """Remove what makers of a store that were killed have left.

    Args:
        where: The engine.
        store: The store's folder.
        is_abandoned: Tells it by the snapshot's key and the image's reference.

    Raises:
        EnvctlError: The engine does not answer, or somebody else has removed one meanwhile.
    """
    form = ["--format", "{{.Repository}}:{{.Tag}}"]
    listing = ["image", "ls", "--filter", f"label={_STORE_LABEL}={_id(store)}", *form]
    for reference in cli.run(where, listing, doing="list images").splitlines():
        asked = ["image", "inspect", "--format", f'{{{{index .Config.Labels "{PREPARED_LABEL}"}}}}', reference]
        if is_abandoned(cli.run(where, asked, doing="look at an image").strip(), reference):
            remove(where, reference)
