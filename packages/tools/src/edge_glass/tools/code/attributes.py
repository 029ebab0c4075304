"""Reads of names that a helper module does not have: `helpers.gone`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from edge_glass.tools.code.bindings import COMPREHENSIONS, FunctionNode, local_names, targets
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.modules import Module, bound_names
from edge_glass.tools.code.program import Program

# Code that looks before it reads, or that binds names in ways that cannot be read here.
_LOOKS = ("AttributeError", "hasattr", "reload", "setattr")


def attribute_problems(program: Program) -> Iterator[tuple[PythonCell, str]]:
    """Yield the cells that read a name of a local module that the module does not bind."""
    if any(word in cell.text for cell in program.cells for word in _LOOKS):
        return
    stored = {dotted(node) for cell in program.cells for node in cell.nodes
              if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}  # fmt: skip
    for cell in program.cells:
        hidden = _locals(cell)
        seen: set[str] = set()
        for node in cell.nodes:
            name = dotted(node) if isinstance(node, ast.Attribute) else None
            if name is None or name in seen or name in stored or name.split(".")[0] in hidden:
                continue
            seen.add(name)
            owner, _, last = (program.meaning(name, cell.index) or "").rpartition(".")
            module = program.modules.find(owner) if owner else None
            if module is None or not module.local or last.startswith("__"):
                continue
            names = _names(module)
            if names is None or last in names or program.modules.find(f"{owner}.{last}"):
                continue
            yield cell, f"reads `{name}`; module {owner} has no `{last}`"


def _names(module: Module) -> set[str] | None:
    """Return what a module binds, by its functions too; None if that cannot be known."""
    names = bound_names(module) if module.file is not None else None
    if names is None or module.tree is None:
        return None
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            names |= set(node.names)
        if isinstance(node, ast.Name) and node.id in ("exec", "globals", "setattr", "vars"):
            return None
    return names


def _locals(cell: PythonCell) -> set[str]:
    found: set[str] = set()
    for node in cell.nodes:
        if isinstance(node, (FunctionNode, ast.Lambda)):
            found |= local_names(node)
        elif isinstance(node, COMPREHENSIONS):
            found |= {name for part in node.generators for each in ast.walk(part.target)
                      for name in targets(each)}  # fmt: skip
    return found
