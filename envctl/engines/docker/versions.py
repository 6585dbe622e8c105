"""The oldest versions of Docker's parts that will do."""

from __future__ import annotations

import re

from envctl.errors import EngineTooOld

OLDEST_ENGINE = (23,)
"""Compose 2.23.1 asks for no older one."""

OLDEST_COMPOSE = (2, 23, 1)
"""The first with inline configs."""


def too_old(name: str, version: str, oldest: tuple[int, ...]) -> EngineTooOld | None:
    """The error for a version before `oldest`; None for a good one, and for one that cannot be read.

    Args:
        name: What it is, for people: "Docker Engine".
        version: As it says itself: "26.1.5+dfsg1", "v2.29.1-desktop.1".
        oldest: One of this module's.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if not numbers or numbers >= oldest:
        return None
    needed = ".".join(map(str, oldest))
    return EngineTooOld(
        f"{name} {version} is too old",
        cause=f"envctl needs {name} {needed} or newer",
        fix=["upgrade Docker Engine and the Compose plugin"],
        state="nothing was created",
    )
