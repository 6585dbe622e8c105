"""Where the asset rooms are, `compose/` and `healthchecks/`, and what they hold.

A wheel carries them as `envctl/_data/` (see `hatch_build.py`); a checkout and an editable install have them beside the
package, so that edits are live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from envctl.errors import InstallationBroken

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def root() -> Path:
    """The folder that holds `compose/` and `healthchecks/`.

    Raises:
        InstallationBroken: It is neither inside the package nor beside it.
    """
    checkout = _PACKAGE.parent
    for folder in (_PACKAGE / "_data", checkout):
        whole = (folder / "compose").is_dir() and (folder / "healthchecks").is_dir()
        if whole and (folder.name == "_data" or (folder / "pyproject.toml").is_file()):
            return folder
    raise InstallationBroken(
        "envctl's own files compose/ and healthchecks/ are missing",
        cause=f"neither {_PACKAGE / '_data'} nor {checkout} holds them",
        fix=["install envctl again: pip install --force-reinstall envctl"],
        subject={"package": str(_PACKAGE)},
    )


def folder(kind: str) -> Path:
    """The kind's folder, `compose/KIND`; the build context of a bundled kind.

    Raises:
        InstallationBroken: There is none.
    """
    path = root() / "compose" / kind
    if not path.is_dir():
        raise _missing(path)
    return path


@cache
def fragment(kind: str) -> Mapping[str, object]:
    """The one service that `compose/KIND/compose.yaml` defines, as parsed. Shared between callers: do not change it.

    Raises:
        InstallationBroken: The file is missing or does not hold exactly one service.
    """
    import yaml

    path = folder(kind) / "compose.yaml"
    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - it is a safe one
        (service,) = document["services"].values()
        return MappingProxyType(dict(service))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _missing(path) from error


@cache
def healthcheck(kind: str) -> tuple[str, str] | None:
    """Name and text of the kind's program `healthchecks/KIND.*`, or None for a kind without one.

    Raises:
        InstallationBroken: There is more than one.
    """
    found = sorted(path for path in (root() / "healthchecks").glob(f"{kind}.*") if path.is_file())
    if len(found) > 1:
        raise _missing(found[1])
    return (found[0].name, found[0].read_text("utf-8")) if found else None


@cache
def folder_digest(kind: str) -> str:
    """SHA-256 (hex) over names, executable bits and bytes of the kind's folder: changes when a file there does."""
    import hashlib

    digest = hashlib.sha256()
    base = folder(kind)
    for path in sorted(files(base), key=lambda p: p.relative_to(base).as_posix()):
        content = path.read_bytes()
        executable = path.stat().st_mode & 0o100
        digest.update(f"{path.relative_to(base).as_posix()}\0{executable}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def files(base: Path) -> Iterator[Path]:
    """Every file below `base` that belongs to it: no byte code (pip compiles what it installs), no dot files.

    `.dockerignore` alone is kept: it decides what a build sees.
    """
    for path in base.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not path.name.startswith("."):
                yield from files(path)
        elif path.suffix != ".pyc" and (not path.name.startswith(".") or path.name == ".dockerignore"):
            yield path


def _missing(path: Path) -> InstallationBroken:
    return InstallationBroken(
        f"envctl's own file {path.name} is missing or damaged",
        cause=str(path),
        fix=["install envctl again: pip install --force-reinstall envctl"],
        subject={"path": str(path)},
    )
