"""The configuration file: `load` reads `envctl.yaml`, `schema` describes it, `starter` writes a first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.host.config.loading import default_spec, load
from envctl.host.config.source import find

__all__ = ["default_spec", "find", "json_schema", "load", "starter_file", "starter_files"]


def json_schema() -> dict[str, Any]:
    """See `envctl.host.config.schema.json_schema`; imported when it is asked for."""
    from envctl.host.config import schema

    return schema.json_schema()


def starter_file(root: Path) -> str:
    """See `envctl.host.config.starter.starter_file`; imported when it is asked for."""
    from envctl.host.config import starter

    return starter.starter_file(root)


def starter_files(root: Path) -> Mapping[str, str]:
    """See `envctl.host.config.starter.starter_files`; imported when it is asked for."""
    from envctl.host.config import starter

    return starter.starter_files(root)
