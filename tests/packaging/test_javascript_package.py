"""The package for JavaScript: its own tests, and what is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "js"

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(shutil.which("npm") is None, reason="NOT TESTED: there is no npm on this machine"),
]


def run(*command: str) -> str:
    """The output of a program that must succeed."""
    environ = {name: value for name, value in os.environ.items() if name != "ENVCTL_COMMAND"}
    done = subprocess.run(command, cwd=PACKAGE, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass() -> None:
    """How envctl is called, what becomes of its answers and errors, and what a Ctrl-C does: js/test."""
    out = run("node", "--test", "--test-reporter=tap")
    assert "\n# fail 0\n" in out, out
    assert "\n# pass 0\n" not in out, out


def test_it_holds_what_it_exports_and_needs_nothing() -> None:
    """Each module is packed, with its types, beside nothing but these; there are no dependencies and no registry."""
    (packed,) = json.loads(run("npm", "pack", "--dry-run", "--json"))
    files = {file["path"] for file in packed["files"]}
    package = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    exported = [target for target in package["exports"].values() if isinstance(target, dict)]
    assert len(exported) == 5
    assert {path.removeprefix("./") for target in exported for path in target.values()} <= files
    assert {path.removeprefix("./") for path in package["exports"].values() if isinstance(path, str)} <= files
    assert {Path(file).parts[0] for file in files} == {"README.md", "package.json", "src"}
    assert not {"dependencies", "devDependencies", "publishConfig"} & package.keys()
