"""The configuration file: `load` reads `envctl.yaml`, `schema` describes it, `starter` writes a first one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envctl.errors import ConfigInvalid
from envctl.host.config.default import default_spec
from envctl.host.config.source import find, repository_root

if TYPE_CHECKING:
    from envctl.model import EnvironmentSpec

__all__ = [
    "changed_since",
    "default_spec",
    "find",
    "given",
    "json_schema",
    "load",
    "project_root",
    "starter_file",
    "starter_files",
]


def load(path: Path | None, start: Path, environ: Mapping[str, str]) -> EnvironmentSpec:
    """The specification of the configuration file, or the default where there is none.

    Args:
        path: The file (relative to `start`), or None for the nearest `envctl.yaml` from `start` up to the
            repository's root.
        start: The folder to start from.
        environ: The variables that `${NAME}` in the file refers to.

    Raises:
        ConfigNotFound: `path` does not exist, or is no file that can be read.
        ConfigInvalid: The file has errors; all are listed. Also where it is too large or not UTF-8.
        UnsafeSetting: All that is wrong with the file is that settings are unsafe.
    """
    start = Path(os.path.abspath(start))  # noqa: PTH100 - links stay as the user wrote them
    file = start / path if path is not None else find(start, repository_root(start))
    if file is None:
        return default_spec()
    from envctl.host.config.loading import load_file

    return load_file(file, start, environ)


def given(spec: Mapping[str, Any], start: Path, environ: Mapping[str, str]) -> EnvironmentSpec:
    """The specification of a configuration that is given as a value; paths in it count from the folder `start`.

    Raises:
        ConfigInvalid: It has errors; all are listed, with their places in its text as YAML.
        UnsafeSetting: All that is wrong with it is that settings are unsafe.
    """
    import yaml

    from envctl.host.config.loading import parse

    try:
        text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ConfigInvalid(
            "the configuration holds what YAML cannot say", cause=str(error), state="nothing was created"
        ) from error
    return replace(parse(text, start / "envctl.yaml", "spec", environ), source=None)


def project_root(spec: EnvironmentSpec, start: Path) -> Path:
    """The folder that the paths in a specification count from, resolved.

    Args:
        spec: What `load` or `given` gave.
        start: The folder it was given for, where it comes from no file.
    """
    return repository_root(Path(os.path.realpath(Path(spec.source).parent if spec.source else start)))


def changed_since(spec: EnvironmentSpec, root: Path, environ: Mapping[str, str]) -> list[str]:
    """See `envctl.host.config.data.changed_since`; imported when it is asked for."""
    from envctl.host.config import data

    return data.changed_since(spec, root, environ)


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
