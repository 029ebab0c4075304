"""Imports that cannot work: no such module, or no such name in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.modules import bound_names
from edge_glass.tools.code.program import Program

# Conditions under which code imports what may be missing.
_GUARD = re.compile(r"find_spec|TYPE_CHECKING|sys\.(modules|platform|version)|colab|kaggle"
                    r"|is_\w*available|COLAB|KAGGLE", re.IGNORECASE)  # fmt: skip
_CAUGHT = frozenset({"BaseException", "Exception", "ImportError", "ModuleNotFoundError"})


def import_problems(program: Program) -> Iterator[tuple[PythonCell, str]]:
    """Yield the cells with imports that cannot work, and why. Guarded imports are left out."""
    for cell in program.cells:
        if "import" not in cell.text:
            continue
        for node in _unguarded(cell.syntax):
            for problem in _problems(program, node):
                yield cell, problem


def _unguarded(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Try) and any(_catches(each.type) for each in node.handlers):
            children = [*node.orelse, *node.finalbody]
        elif (isinstance(node, ast.If) and _GUARD.search(ast.unparse(node.test))) or (
            isinstance(node, ast.With)
            and any("suppress" in ast.unparse(item.context_expr) for item in node.items)
        ):
            children = []
        stack += reversed(children)


def _catches(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any((dotted(each) or "").rpartition(".")[2] in _CAUGHT for each in kinds)


def _problems(program: Program, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if not program.modules.exists(alias.name):
                yield f"import {alias.name}: no such module"
        return
    if node.level:
        yield f"from {'.' * node.level}{node.module or ''}: a notebook is in no package"
        return
    name = node.module or ""
    if not program.modules.exists(name):
        yield f"from {name}: no such module"
        return
    module = program.modules.find(name)
    if module is None:
        if name.startswith("edge_glass."):
            yield f"from {name}: no such module"
        return
    if not (module.local or name.startswith("edge_glass.")):
        return  # other packages make names up when they are imported
    bound = bound_names(module) if module.file is not None else set()
    for alias in node.names:
        if bound is None or alias.name == "*" or alias.name in bound:
            continue
        if program.modules.find(f"{name}.{alias.name}") is None:
            yield f"from {name} import {alias.name}: no such name"
