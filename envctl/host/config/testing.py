"""How a repository's tests are run, as far as its files show it. Reads only, and never raises for what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envctl.host.config.evidence import RUNNERS
from envctl.host.config.source import Unreadable, read_text
from envctl.plan.ci.repository import Node, Python, Repository

_NODE_VERSION_FILES = (".nvmrc", ".node-version")
_NPM_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_REQUIREMENTS = (
    *("requirements.txt", "requirements-dev.txt", "requirements-test.txt"),
    *("requirements/dev.txt", "requirements/test.txt"),
)
_FOR_TESTS = ("test", "tests", "testing", "dev")
_NO_TEST = "no test specified"  # what `npm init` writes
_OLDEST_PYTHON = (3, 11)  # that envctl itself runs on


def look(root: Path) -> Repository:
    """Looks at the package files of `root`."""
    make = re.search(r"(?m)^test\s*:", _text(root / "Makefile")) is not None
    return Repository(_node(root), _python(root), make)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except Unreadable:
        return ""


def _node(root: Path) -> Node | None:
    if not (text := _text(root / "package.json")):
        return None
    package = _json(text)
    scripts = _mapping(package.get("scripts"))
    manager = next((name for file, name in RUNNERS.items() if (root / file).is_file()), "npm")
    file = next((name for name in _NODE_VERSION_FILES if (root / name).is_file()), "")
    number = re.match(r"v?(\d+)", _text(root / file)) if file else None
    return Node(
        manager=manager,
        locked=manager != "npm" or any((root / name).is_file() for name in _NPM_LOCKS),
        modern_yarn=(root / ".yarnrc.yml").is_file(),
        version_file=file or ("package.json" if _says_version(package) else ""),
        version=number[1] if number else "",
        tested=isinstance(scripts.get("test"), str) and _NO_TEST not in scripts["test"],
    )


def _json(text: str) -> Mapping[str, Any]:
    import json

    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _says_version(package: Mapping[str, Any]) -> bool:
    """Whether setup-node finds a version of Node.js in package.json."""
    engines, volta = _mapping(package.get("engines")), _mapping(package.get("volta"))
    return isinstance(engines.get("node"), str) or isinstance(volta.get("node"), str)


def _python(root: Path) -> Python | None:
    pyproject = _toml(_text(root / "pyproject.toml"))
    files = [name for name in _REQUIREMENTS if (root / name).is_file()]
    if not pyproject and not files:
        return None
    version = _text(root / ".python-version").strip()
    number = re.match(r"(\d+)\.(\d+)", version)
    old = number is not None and (int(number[1]), int(number[2])) < _OLDEST_PYTHON
    file = ".python-version" if version and not old else ""
    if not file and isinstance(_mapping(pyproject.get("project")).get("requires-python"), str):
        file = "pyproject.toml"
    locks = {"uv.lock": "uv", "poetry.lock": "poetry"}
    return Python(
        manager=next((name for lock, name in locks.items() if (root / lock).is_file()), "pip"),
        packages=_packages(root, pyproject, files),
        version_file=file,
        version=number[0] if number and not old else "",
        cached=bool(pyproject) or "requirements.txt" in files,
    )


def _toml(text: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _packages(root: Path, pyproject: Mapping[str, Any], files: list[str]) -> tuple[str, ...]:
    """What pip installs: requirement files, the project with what its tests need, and pytest where nothing names it."""
    words = [f"-r {name}" for name in files]
    project = _mapping(pyproject.get("project"))
    if project:
        extra = next((name for name in _FOR_TESTS if name in _mapping(project.get("optional-dependencies"))), "")
        words.append(f"-e '.[{extra}]'" if extra else "-e .")
    groups = _mapping(pyproject.get("dependency-groups"))
    words += [f"--group {name}" for name in _FOR_TESTS if name in groups][:1]
    seen = "".join(_text(root / name) for name in ("pyproject.toml", *files))
    return (*words, *(() if "pytest" in seen else ("pytest",)))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
