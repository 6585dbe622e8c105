"""The package's source as syntax trees, for the tests of its shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "envctl"


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, "envctl.host.clock"."""
    return {_dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(module: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(modules()[module].read_text("utf-8"))


def imports(module: str, *, at_import: bool = False) -> Iterator[str]:
    """Dotted names of what a module imports, submodules of our package resolved.

    Args:
        module: The module.
        at_import: Only what is imported with it: not inside functions, and not for type checkers alone.
    """
    nodes = _executed(tree(module)) if at_import else ast.walk(tree(module))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in modules() else base


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _executed(child)


def calls(module: str) -> Iterator[ast.Call]:
    """Every call in a module."""
    return (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))
