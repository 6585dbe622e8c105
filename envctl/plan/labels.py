"""The labels everything that is created carries: how they begin, and whose things are by them."""

from __future__ import annotations

from collections.abc import Mapping

from envctl.model import Identity

LABEL_PREFIX = "dev.envctl."


def identity(labels: Mapping[str, str]) -> Identity:
    """Whose environment something belongs to.

    Args:
        labels: Its labels, without the prefix.
    """
    return Identity(
        project=labels["project"],
        branch=labels["branch"],
        checkout=labels["checkout"],
        label=labels["label"],
        key=labels["key"],
        name=labels["environment"],
    )
