"""How a repository is tested is seen from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envctl.host.config.testing import look
from envctl.plan.ci.repository import Node, Python, Repository, commands_of_tests, install_commands


def seen(root: Path, files: dict[str, str]) -> Repository:
    """What is seen in a folder with these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return look(root)


TESTED = json.dumps({"scripts": {"test": "vitest run"}})
PROJECT = '[project]\nname = "shop"\n'


@pytest.mark.parametrize(
    ("files", "installs", "tests"),
    [
        ({"package.json": TESTED, "package-lock.json": "{}"}, ["npm ci"], ["npm test"]),
        ({"package.json": TESTED}, ["npm install"], ["npm test"]),
        (
            {"package.json": TESTED, "pnpm-lock.yaml": ""},
            ["npm install --global pnpm", "pnpm install --frozen-lockfile"],
            ["pnpm test"],
        ),
        (
            {"package.json": TESTED, "yarn.lock": "", ".yarnrc.yml": ""},
            ["npm install --global corepack", "corepack enable", "yarn install --immutable"],
            ["yarn test"],
        ),
        ({"requirements.txt": "pytest\n"}, ["python -m pip install -r requirements.txt"], ["pytest"]),
        ({"pyproject.toml": PROJECT}, ["python -m pip install -e . pytest"], ["pytest"]),
        (
            {"pyproject.toml": PROJECT + '[project.optional-dependencies]\ndev = ["pytest"]\ntest = ["pytest"]\n'},
            ["python -m pip install -e '.[test]'"],
            ["pytest"],
        ),
        (
            {"pyproject.toml": '[dependency-groups]\ndev = ["pytest>=8"]\n', "requirements-dev.txt": "x\n"},
            ["python -m pip install -r requirements-dev.txt --group dev"],
            ["pytest"],
        ),
        (
            {"pyproject.toml": PROJECT, "uv.lock": ""},
            ["python -m pip install uv", "uv sync --locked"],
            ["uv run pytest"],
        ),
        (
            {"package.json": TESTED, "package-lock.json": "{}", "requirements.txt": "pytest\n"},
            ["npm ci", "python -m pip install -r requirements.txt"],
            ["npm test", "pytest"],
        ),
        ({"Makefile": "build:\n\ntest: build\n\ttrue\n"}, [], ["make test"]),
        ({}, [], []),
    ],
)
def test_package_manager_and_test_command(
    tmp_path: Path, files: dict[str, str], installs: list[str], tests: list[str]
) -> None:
    """The lock file names the manager, which installs exactly what is locked; both languages are tested."""
    found = seen(tmp_path, files)
    assert install_commands(found) == installs
    assert commands_of_tests(found) == tests


@pytest.mark.parametrize(
    ("files", "node"),
    [
        ({".nvmrc": "v22.3.0\n"}, Node(version_file=".nvmrc", version="22")),
        ({".nvmrc": "lts/*\n"}, Node(version_file=".nvmrc")),
        (
            {"package.json": '{"engines": {"node": ">=20"}, "scripts": {"test": "x"}}'},
            Node(version_file="package.json"),
        ),
        (
            {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
            Node(tested=False),
        ),
        ({"package.json": "{broken"}, Node(tested=False)),
        ({"package.json": '{"engines": "20", "scripts": []}'}, Node(tested=False)),
    ],
)
def test_versions_of_node(tmp_path: Path, files: dict[str, str], node: Node) -> None:
    """The version comes from the repository's own file; what cannot be read is not there."""
    assert seen(tmp_path, {"package.json": TESTED} | files).node == node


@pytest.mark.parametrize(
    ("files", "file", "version"),
    [
        ({".python-version": "3.12.4\n"}, ".python-version", "3.12"),
        ({".python-version": "3.9\n"}, "", ""),  # envctl itself needs a newer one
        ({"pyproject.toml": PROJECT + 'requires-python = ">=3.11"\n'}, "pyproject.toml", ""),
        ({"pyproject.toml": PROJECT}, "", ""),
    ],
)
def test_versions_of_python(tmp_path: Path, files: dict[str, str], file: str, version: str) -> None:
    """The version comes from the repository's own file, where envctl can run on it."""
    found = seen(tmp_path, {"requirements.txt": ""} | files).python
    assert isinstance(found, Python)
    assert (found.version_file, found.version) == (file, version)


def test_nothing_of_what_a_file_says_gets_into_a_script(tmp_path: Path) -> None:
    """Scripts are put together of words that are known; a branch that somebody sends in cannot add one."""
    nasty = "$(touch x) '; touch x; '"
    files = {
        "package.json": json.dumps({"name": nasty, "engines": {"node": nasty}, "scripts": {"test": nasty}}),
        "pyproject.toml": f'[project]\nname = "{nasty}"\n[dependency-groups]\n"{nasty}" = []\ntest = ["{nasty}"]\n',
        ".nvmrc": nasty,
        ".python-version": nasty,
        "requirements.txt": nasty,
    }
    found = seen(tmp_path, files)
    assert "touch" not in repr(found)
