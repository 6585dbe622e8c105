"""Every situation has one code, one text that says how to get out of it, and a test that provokes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import source

from envctl import errors

TESTS = source.ROOT / "tests"
LEAVES = {leaf.code: leaf for leaf in errors.leaves()}
CLASSES = {leaf.__name__ for leaf in LEAVES.values()}
# Their constructor knows the way out, or there is none to give at the place where they are raised.
FIX_IS_KNOWN = {"Interrupted", "Bug"}


@pytest.mark.parametrize("code", LEAVES)
def test_each_error_says_how_to_fix_it(code: str) -> None:
    """The docstring of each error is the text of `envctl explain`: the situation, then `Fix:`."""
    text = LEAVES[code].__doc__ or ""
    situation, _, fix = text.partition("Fix:")
    assert situation.strip().endswith(".")
    assert len(fix.strip()) > 10


def test_codes_and_drawing_agree() -> None:
    """Codes are unique, and the tree drawn in the module's docstring shows each with its class."""
    assert len(LEAVES) == len(list(errors.leaves()))
    drawn = dict(re.findall(r"^ +(\w+) +([A-Z_]{3,})\b", errors.__doc__ or "", re.MULTILINE))
    assert {leaf.__name__: code for code, leaf in LEAVES.items()} == drawn


def test_exit_codes_are_those_of_the_design() -> None:
    """Each error ends the program with the exit code of its class, and no class invents another."""
    known = {1, 2, 65, 66, 69, 71, 73, 74, 75, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 126, 127, 130}
    assert {leaf.exit_code for leaf in LEAVES.values()} <= known


def _raised() -> list[tuple[str, ast.Call]]:
    return [
        (f"{module}:{call.lineno}", call)
        for module in source.modules()
        for call in source.calls(module)
        if ast.unparse(call.func).split(".")[-1] in CLASSES - FIX_IS_KNOWN
    ]


def test_each_error_made_says_what_to_do() -> None:
    """Wherever an error is made, a fix is given, or the error's own docstring gives it when it is printed."""
    silent = [
        where
        for where, call in _raised()
        if not any(word.arg in {"fix", None} for word in call.keywords) and not _fix_of_class(call)
    ]
    assert silent == []


def _fix_of_class(call: ast.Call) -> bool:
    name = ast.unparse(call.func).split(".")[-1]
    leaf = next(leaf for leaf in LEAVES.values() if leaf.__name__ == name)
    return "Fix:" in (leaf.__doc__ or "")


# Where a signal cannot arrive as an exception: in other threads, in a shielded clean-up, in the last resort; and where
# all there is to catch is the reading of a file or of answers that are already there.
NO_SIGNAL = {
    *(
        "envctl.cli.main",
        "envctl.cli.failure",
        "envctl.conductor.teardown",
        "envctl.host.signals",
        "envctl.doctor.docker",
    ),
    *("envctl.ready.log", "envctl.ready.exec", "envctl.host.config.starter", "envctl.engines.docker.objects"),
}


def test_signals_are_not_taken_for_failures() -> None:
    """`except EnvctlError` also catches Interrupted: wherever that could happen, it is let through first."""
    wrong = [
        f"{module}:{node.lineno}"
        for module in set(source.modules()) - NO_SIGNAL
        for node in ast.walk(source.tree(module))
        if isinstance(node, ast.Try) and _takes_signals(node)
    ]
    assert wrong == []


def _takes_signals(node: ast.Try) -> bool:
    for handler in node.handlers:
        names = ast.unparse(handler.type) if handler.type else ""
        if names == "Interrupted":
            return False
        if "EnvctlError" in names:
            return True
    return False


def provoked() -> dict[str, list[str]]:
    """Error code → tests that are marked to provoke it."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for code in _codes(node):
                    found.setdefault(code, []).append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def _codes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        argument.value
        for call in function.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.provokes"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def test_every_code_is_provoked() -> None:
    """For each code there is a test, marked `provokes`, in which it really comes about."""
    assert sorted(set(LEAVES) - set(provoked())) == []


def test_marks_name_codes_that_exist() -> None:
    """A mark with a code that no error has would prove nothing."""
    assert sorted(set(provoked()) - set(LEAVES)) == []


def test_marked_tests_look_at_the_code() -> None:
    """A test that claims to provoke a code has that code, its class or its exit code in what it checks."""
    for code, tests in provoked().items():
        for test in tests:
            path, _, name = test.partition("::")
            leaf = LEAVES[code]
            seen = _mentions(TESTS / path, name, code, leaf.__name__, str(leaf.exit_code))
            assert seen, f"{test} does not check {code}"


def _mentions(path: Path, name: str, *words: str) -> bool:
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            body = "\n".join(ast.unparse(part) for part in node.body)
            decorated = "\n".join(
                ast.unparse(part) for part in node.decorator_list if "provokes" not in ast.unparse(part)
            )
            return any(word in body + decorated for word in words)
    return False
