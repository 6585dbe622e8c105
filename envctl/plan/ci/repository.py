"""How a repository's tests are run: what installs its packages, and the command that tests."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PYTHON = "3.13"
"""The Python that envctl gets where the repository asks for none."""


@dataclass(frozen=True, slots=True)
class Node:
    """A repository with a package.json.

    Attributes:
        manager: "npm", "pnpm", "yarn" or "bun".
        locked: Whether there is a lock file to install from.
        modern_yarn: Whether it is Yarn 2 or newer.
        version_file: File that names the version of Node.js, or "".
        version: What that file says, where it is a plain number ("22"), or "".
        tested: Whether package.json has a script `test`.
    """

    manager: str = "npm"
    locked: bool = False
    modern_yarn: bool = False
    version_file: str = ""
    version: str = ""
    tested: bool = True


@dataclass(frozen=True, slots=True)
class Python:
    """A repository with a pyproject.toml or requirements.

    Attributes:
        manager: "pip", "uv" or "poetry".
        packages: What pip is asked to install, as words for a shell.
        version_file: File that names the version of Python, or "".
        version: What that file says ("3.12"), or "".
        cached: Whether setup-python finds the file it names a cache of pip's downloads after.
    """

    manager: str = "pip"
    packages: tuple[str, ...] = ()
    version_file: str = ""
    version: str = ""
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Repository:
    """What is tested.

    Attributes:
        node: Its part for Node.js, or None.
        python: Its part for Python, or None.
        make: Whether its Makefile has a target `test`.
    """

    node: Node | None = None
    python: Python | None = None
    make: bool = False


_NODE_INSTALLS = {
    "npm": ("npm install", "npm ci"),
    "pnpm": ("pnpm install", "pnpm install --frozen-lockfile"),
    "bun": ("bun install", "bun install --frozen-lockfile"),
}
_PYTHON_INSTALLS = {
    "uv": ("python -m pip install uv", "uv sync --locked"),
    "poetry": ("python -m pip install poetry", "poetry install --no-interaction"),
}
_NODE_TESTS = {"npm": "npm test", "pnpm": "pnpm test", "yarn": "yarn test", "bun": "bun run test"}
_PYTHON_TESTS = {"pip": "pytest", "uv": "uv run pytest", "poetry": "poetry run pytest"}


def install_commands(repository: Repository) -> list[str]:
    """What installs the repository's packages, one command of a shell each."""
    commands: list[str] = []
    if node := repository.node:
        commands += _node_installs(node)
    if python := repository.python:
        pip = [" ".join(["python -m pip install", *python.packages])] if python.packages else []
        commands += _PYTHON_INSTALLS.get(python.manager, pip)
    return commands


def _node_installs(node: Node) -> list[str]:
    if node.manager != "yarn":
        manager = [] if node.manager == "npm" else [f"npm install --global {node.manager}"]
        return [*manager, _NODE_INSTALLS[node.manager][node.locked]]
    if node.modern_yarn:
        return ["npm install --global corepack", "corepack enable", "yarn install --immutable"]
    return ["npm install --global yarn", "yarn install --frozen-lockfile"]


def commands_of_tests(repository: Repository) -> list[str]:
    """What runs the tests, one command of a shell each; none where nothing was found."""
    commands = [_NODE_TESTS[repository.node.manager]] if repository.node and repository.node.tested else []
    commands += [_PYTHON_TESTS[repository.python.manager]] if repository.python else []
    return commands or (["make test"] if repository.make else [])
