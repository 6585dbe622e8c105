"""The public interface is small and typed, and the package carries what it needs."""

from __future__ import annotations

import subprocess
import sys

import source

import envctl

MOST_NAMES = 20


def test_public_names_are_few_and_exist() -> None:
    """`envctl.__all__` lists at most 20 names, and each can be had."""
    assert len(envctl.__all__) <= MOST_NAMES
    assert len(set(envctl.__all__)) == len(envctl.__all__)
    for name in envctl.__all__:
        assert hasattr(envctl, name)


def test_everything_else_is_not_public() -> None:
    """Beside the names in `__all__` and its own submodules the package shows nothing."""
    rooms = {module.split(".")[1] for module in source.modules() if module != "envctl"}
    shown = {name for name in vars(envctl) if not name.startswith(("_", "@"))}  # @: pytest's
    assert shown <= {*envctl.__all__, *rooms, "annotations"}


def test_importing_the_package_costs_nothing() -> None:
    """`import envctl` brings in neither YAML nor the registry nor a client library."""
    program = "import sys, envctl; print(sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for heavy in ("yaml", "sqlite3", "click", "docker", "python_on_whales", "subprocess"):
        assert f"'{heavy}'" not in ended.stdout


def test_package_is_typed() -> None:
    """Type checkers of those who use envctl may trust its annotations."""
    assert (source.PACKAGE / "py.typed").is_file()
