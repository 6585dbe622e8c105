"""Functions and modules stay small enough to be read at once."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator

import source

MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 50
USUAL_MODULE_LINES = 200
USUAL_FUNCTION_LINES = 25
# Longer because it is a list: the error tree with the text of `envctl explain`.
LISTS = {"envctl.errors"}


def _lines(module: str) -> int:
    return len(source.modules()[module].read_text("utf-8").splitlines())


def _functions(module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source.tree(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{module}.{node.name}", _body_lines(node)


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: what a function promises may need more room than its code."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return total - ((first.end_lineno or first.lineno) - first.lineno + 1 if is_doc else 0)


def test_no_module_is_too_long() -> None:
    """No module has more than 400 lines."""
    assert [name for name in source.modules() if name not in LISTS and _lines(name) > MOST_MODULE_LINES] == []


def test_no_function_is_too_long() -> None:
    """No function has more than 50 lines."""
    functions = (found for module in source.modules() for found in _functions(module))
    assert [name for name, lines in functions if lines > MOST_FUNCTION_LINES] == []


def test_most_are_short() -> None:
    """Nine of ten modules have fewer than 200 lines, nineteen of twenty functions fewer than 25."""
    lengths = sorted(_lines(module) for module in source.modules())
    functions = sorted(lines for module in source.modules() for _, lines in _functions(module))
    assert statistics.quantiles(lengths, n=10)[-1] <= USUAL_MODULE_LINES + 50
    assert lengths[int(len(lengths) * 0.85)] <= USUAL_MODULE_LINES
    assert functions[int(len(functions) * 0.95)] <= USUAL_FUNCTION_LINES
