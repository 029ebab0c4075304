"""A notebook's code as a whole: its modules, its definitions, and what a called name stands for."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from edge_glass.tools.code.bindings import FunctionNode, body_nodes
from edge_glass.tools.code.cells import ForeignCell, PythonCell
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.modules import Modules, bound_names
from edge_glass.tools.code.search_path import SearchPath
from edge_glass.tools.code.signatures import (
    Definitions,
    Resolved,
    Signature,
    instance_method,
    method,
)


@dataclass(frozen=True)
class Binding:
    """A cell that binds a module-level name, and the statement or target that does it."""

    cell: int
    node: ast.AST


@dataclass(frozen=True)
class Call:
    """A call, with the names that are local to the functions around it."""

    cell: PythonCell
    node: ast.Call
    hidden: frozenset[str]
    functions: tuple[str, ...] = ()


class Program:
    """The code cells of one notebook, in order."""

    def __init__(
        self, cells: Sequence[PythonCell], path: Path, foreign: Sequence[ForeignCell] = ()
    ) -> None:
        self.cells = cells
        self.folder = path.resolve().parent
        self.foreign = foreign
        self.memo: dict[str, Any] = {}  # results of readers, by their name

    @cached_property
    def modules(self) -> Modules:
        written = frozenset(_written(cell) for cell in self.foreign)
        return Modules(SearchPath(self.cells, self.folder), written)

    @cached_property
    def definitions(self) -> Definitions:
        return Definitions(self.modules)

    @cached_property
    def bindings(self) -> dict[str, list[Binding]]:
        """What binds each module-level name, in cell order."""
        found: dict[str, list[Binding]] = {}
        for cell in self.cells:
            for name, node in cell.bindings:
                found.setdefault(name, []).append(Binding(cell.index, node))
        return found

    @cached_property
    def _from_stars(self) -> dict[str, str]:
        """The names that `from module import *` brings, with their modules."""
        found: dict[str, str] = {}
        for cell in self.cells:
            if "import *" not in cell.text:
                continue
            for node in body_nodes(cell.syntax.body):
                if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and node.module:
                    module = self.modules.find(node.module) if not node.level else None
                    names = bound_names(module) if module is not None else None
                    found |= dict.fromkeys(names or (), node.module)
        return found

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Every call, in the order of the text."""
        return tuple(
            Call(cell, each.node, each.hidden, each.functions)
            for cell in self.cells
            for each in cell.calls
        )

    def local(self, cell: int) -> dict[str, Resolved]:
        """Return the notebook's own functions and classes as cell `cell` sees them."""
        found: dict[str, Resolved] = {}
        for name, bindings in self.bindings.items():
            node = _seen_from(bindings, cell, name)
            if isinstance(node, (FunctionNode, ast.ClassDef)):
                found[name] = Resolved(node, None)
        return found

    def meaning(self, name: str, cell: int) -> str | None:
        """Return what a dotted name stands for in cell `cell`, through the imports, else None."""
        root, dot, rest = name.partition(".")
        node = _seen_from(self.bindings.get(root, []), cell, root)
        if root not in self.bindings and root in self._from_stars:
            return f"{self._from_stars[root]}.{name}"
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            return None
        target = _imported(node, root)
        return target + dot + rest if target is not None else None

    def resolve(self, name: str, cell: int) -> Resolved | None:
        """Return the definition that a dotted name stands for in cell `cell`, if it is found."""
        if name.partition(".")[0] not in self.bindings and not self._from_stars:
            return None
        root, _, rest = name.partition(".")
        node = _seen_from(self.bindings.get(root, []), cell, root)
        if isinstance(node, (FunctionNode, ast.ClassDef)):
            return method(Resolved(node, None), rest.split(".") if rest else [])
        meaning = self.meaning(name, cell)
        return self.definitions.find(meaning) if meaning and "." in meaning else None

    @cached_property
    def _assigned(self) -> dict[int, ast.expr]:
        """What is assigned to each target, by the target's id."""
        return {
            id(target): each.value
            for cell in self.cells
            for each in cell.nodes
            if isinstance(each, ast.Assign)
            for target in each.targets
        }

    def _of_instance(self, call: Call, function: ast.expr) -> Resolved | None:
        """Return the method in `C().m` and in `c.m` if `c = C()` is all that binds `c`."""
        if not isinstance(function, ast.Attribute):
            return None
        made = function.value
        if isinstance(made, ast.Name):
            bound = self.bindings.get(made.id, [])
            made = self._assigned.get(id(bound[0].node), made) if len(bound) == 1 else made
        name = dotted(made.func) if isinstance(made, ast.Call) else None
        if name is None or name.partition(".")[0] in call.hidden:
            return None
        found = self.resolve(name, call.cell.index)
        return instance_method(found, function.attr) if found is not None else None

    def signature(self, call: Call, callee: ast.expr | None = None) -> Signature | None:
        """Return the signature of what a call calls, or None if it is not known."""
        function = callee if callee is not None else call.node.func
        name = dotted(function)
        if name is not None and name.partition(".")[0] in call.hidden:
            return None
        found = self.resolve(name, call.cell.index) if name is not None else None
        found = found or self._of_instance(call, function)
        if found is None:
            return None
        return self.definitions.signature(found, self.local(call.cell.index))


@lru_cache(maxsize=1)
def program_of(cells: tuple[PythonCell, ...], path: Path) -> Program:
    """Return the program of these cells. The last one is kept: most patches change nothing.

    Whoever begins with another notebook clears it, because modules may have changed meanwhile.
    """
    return Program(cells, path)


def _imported(node: ast.Import | ast.ImportFrom, name: str) -> str | None:
    """Return what an import binds `name` to."""
    for alias in node.names:
        if (alias.asname or alias.name.split(".")[0]) == name:
            if isinstance(node, ast.Import):
                return alias.name if alias.asname else name
            module = (node.module or "") if not node.level else ""
            return f"{module}.{alias.name}".lstrip(".")
    return None


def _seen_from(bindings: Sequence[Binding], cell: int, name: str) -> ast.AST | None:
    """Return what a name is bound by in cell `cell`; None if that is not certain.

    An earlier binding wins over a later one, and the same definition in several cells is one that
    was edited on the way: the last one before the cell counts.
    """
    before = [each for each in bindings if each.cell <= cell] or list(bindings)
    definitions = (FunctionNode, ast.ClassDef)
    if not before:
        return None
    last = before[-1].node
    if len(before) == 1:
        return last
    kinds = {type(each.node) for each in before}
    if all(issubclass(kind, definitions) for kind in kinds):
        return last if before[-1].cell != before[-2].cell else None
    imports = [each.node for each in before if isinstance(each.node, (ast.Import, ast.ImportFrom))]
    same = {_imported(node, name) for node in imports}
    return last if len(imports) == len(before) and len(same) == 1 else None


def _written(cell: ForeignCell) -> str:
    """Return the module that a cell with `%%writefile name.py` writes; "" for any other cell."""
    first = cell.source.strip().partition("\n")[0].split()
    if len(first) < 2 or first[0] not in ("%%writefile", "%%file"):
        return ""
    path = Path(first[-1])
    return path.stem if path.suffix == ".py" and len(path.parts) == 1 else path.parts[0]
