"""Producers against consumers: the keys of batches and rows, and the code that reads them.

Values are followed through the notebook: a data set gives rows, a collate function makes a batch of
rows, a loader gives batches, a loop or `next(iter(…))` takes one, a function is handed one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from edge_glass.tools.code.batch_items import Item, KeyRead, Many, Scope
from edge_glass.tools.code.batch_values import PASSES_ON, BatchValues
from edge_glass.tools.code.bindings import FunctionNode, body_nodes, parameters
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.keys import Function
from edge_glass.tools.code.program import Program

_COLLATE_NAME = re.compile(
    r"\w*collate(_fn|_batch|r|_\w+)?|\w*[a-z]Collat(e|or)\w*|Collat(e|or)\w*"
)
_LOADER_NAME = re.compile(r"(^|_)(data)?loaders?($|_)|(^|_)dl($|_)|DataLoader", re.IGNORECASE)
RELEVANT = re.compile(r"collate|DataLoader|__getitem__|Collat")


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Batches(BatchValues):
    """The batches and rows of a notebook."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.missing: list[KeyRead] = []
        text = "\n".join(cell.text for cell in program.cells)
        if not RELEVANT.search(text):
            return
        self._index()
        used = set(re.findall(r"\bcollate_fn\s*=\s*(?:\w+\.)*(\w+)", text))
        used |= set(re.findall(r"\bcollate_fn\s*=\s*(?:\w+\.)?partial\(\s*(?:\w+\.)*(\w+)", text))
        for name, (cell, function) in self._functions.items():
            last = name.rpartition(".")[2]
            owner = name.rpartition(".")[0]
            is_call = last == "__call__" and (_COLLATE_NAME.fullmatch(owner) or owner in used)
            if last in used or _COLLATE_NAME.fullmatch(last) or is_call:
                self._collate(name, cell, function)
        self._module = Scope(None, None, None)
        self._flat: dict[int, tuple[ast.AST, ...]] = {}  # the nodes of a body, by its first one
        for _ in range(4):  # each round follows values one call further
            self.missing, self._changed = [], False
            self._walk()
            if not self._changed:
                break

    def _walk(self) -> None:
        for cell in self.program.cells:
            self._statements(cell, cell.syntax.body, self._module)

    def _statements(self, cell: PythonCell, body: Sequence[ast.AST], scope: Scope) -> None:
        key = id(body[0]) if body else 0
        if key not in self._flat:
            self._flat[key] = tuple(body_nodes(body))
        for node in self._flat[key] if body else ():
            self._bindings(cell, node, scope)
            if isinstance(node, (ast.Lambda, *_FUNCTIONS)):
                self._function(cell, node, scope)
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, FunctionNode):
                        self._function(cell, inner, scope)
            elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
                inside = self._scope(cell, node, scope)
                for generator in node.generators:
                    self._loop(cell, generator.target, generator.iter, inside)
                for part in ast.iter_child_nodes(node):
                    parts = [part] if not isinstance(part, ast.comprehension) else [
                        part.iter, *part.ifs]  # fmt: skip
                    self._statements(cell, parts, inside)
            else:
                self._reads(cell, node, scope)

    def _function(self, cell: PythonCell, node: Function, scope: Scope) -> None:
        inside = self._scope(cell, node, scope)
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        if isinstance(node, FunctionNode) and not any(node is c.node for c in
                                                      self.collates.values()):  # fmt: skip
            for each in parameters(node.args):
                if each.arg == "batch" and "batch" not in inside.values:
                    only = self._only_batch()
                    if only is not None:
                        inside.values["batch"] = [((0, 0, 0), only)]
        self._statements(cell, body, inside)

    def _bindings(self, cell: PythonCell, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(cell, target, node.value, scope)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            self._assign(cell, node.target, node.value, scope)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._loop(cell, node.target, node.iter, scope)
        elif isinstance(node, ast.Call):
            self._hand_over(cell, node, scope)

    def _assign(self, cell: PythonCell, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            if isinstance(value, (ast.Tuple, ast.List)) and len(target.elts) == len(value.elts):
                for one, other in zip(target.elts, value.elts, strict=True):
                    self._assign(cell, one, other, scope)
            elif isinstance(value, ast.Call) and (dotted(value.func) or "").endswith(
                "random_split"
            ):
                for one in target.elts:
                    self._assign(cell, one, value, scope)
            return
        if isinstance(target, ast.Subscript):
            name, key = dotted(target.value), text_of(target.slice)
            if name and key is not None:
                scope.extra.setdefault(name, set()).add(key)
            return
        name = dotted(target)
        if name is None:
            return
        if isinstance(value, ast.Dict):
            for entry, each in zip(value.keys, value.values, strict=True):
                if text_of(entry) is not None:
                    self._bind(cell, f"{name}[{text_of(entry)}]", each, scope, target)
        self._bind(cell, name, value, scope, target)

    def _bind(
        self, cell: PythonCell, name: str, node: ast.expr, scope: Scope, place: ast.expr
    ) -> None:
        value = self._value(cell, node, scope)
        if value is not None:
            self._set(scope, name, (cell.index, place.lineno, place.col_offset), value)

    def _loop(self, cell: PythonCell, target: ast.expr, source: ast.expr, scope: Scope) -> None:
        place = (cell.index, target.lineno, target.col_offset)
        if isinstance(source, ast.Call) and isinstance(target, (ast.Tuple, ast.List)):
            called = (dotted(source.func) or "").rpartition(".")[2]
            if called in PASSES_ON and source.args:
                self._loop(cell, target, source.args[0], scope)
            elif called == "enumerate" and len(target.elts) == 2 and source.args:
                self._loop(cell, target.elts[1], source.args[0], scope)
            elif called == "zip" and len(target.elts) == len(source.args):
                for one, other in zip(target.elts, source.args, strict=True):
                    self._loop(cell, one, other, scope)
            return
        if not isinstance(target, ast.Name):
            return
        value = self._value(cell, source, scope)
        item = value.item if isinstance(value, Many) else None
        if item is None and value is None and _names_a_loader(source):
            item = self._only_batch()
        if item is not None:
            self._set(scope, target.id, place, item)

    def _hand_over(self, cell: PythonCell, node: ast.Call, scope: Scope) -> None:
        """Give the parameters of the notebook's own functions the values of a call."""
        found = self._functions.get(dotted(node.func) or "")
        if found is None or any(found[1] is each.node for each in self.collates.values()):
            return
        inside = self._scope(found[0], found[1], self._module)
        names = [each.arg for each in parameters(found[1].args)]
        given = list(zip(names, node.args, strict=False))
        given += [(each.arg, each.value) for each in node.keywords if each.arg in names]
        for name, value in given:
            known = self._value(cell, value, scope)
            inside.handed.setdefault(name, {})[id(node)] = known
            if known is not None:
                self._set(inside, name, (0, 0, 0), known)

    # Reads.

    def _reads(self, cell: PythonCell, node: ast.AST, scope: Scope) -> None:
        owner: ast.expr | None = None
        key: str | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            owner, key = node.value, text_of(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("get", "pop"):
                owner, key = node.func.value, text_of(node.args[0])
            elif node.func.attr in ("update", "setdefault"):
                scope.extra.setdefault(dotted(node.func.value) or "", set()).add("*")
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            tested = dotted(node.comparators[0])
            if tested and text_of(node.left) is not None:
                scope.extra.setdefault(tested, set()).add(text_of(node.left) or "")
        if owner is None or key is None:
            return
        value = self._value(cell, owner, scope)
        if not isinstance(value, Item) or value.keys.open or key in value.keys.names:
            return
        here: Scope | None = scope
        while here is not None:
            if {key, "*"} & here.extra.get(dotted(owner) or "?", set()):
                return
            here = here.parent
        assert isinstance(node, ast.expr)
        self.missing.append(KeyRead(cell, key, value, node, _is_tensor(cell, node)))


def _names_a_loader(node: ast.expr) -> bool:
    names = [each.id if isinstance(each, ast.Name) else each.attr
             for each in ast.walk(node) if isinstance(each, (ast.Name, ast.Attribute))]  # fmt: skip
    return any(_LOADER_NAME.search(name) for name in names)


def _is_tensor(cell: PythonCell, node: ast.expr) -> bool:
    """Whether the value of `node` is used as a tensor: `batch["label"].to(device)`."""
    for each in cell.nodes:
        if isinstance(each, ast.Attribute) and each.value is node:
            return each.attr in ("to", "cuda", "cpu", "float", "long", "shape", "size", "view",
                                 "unsqueeze", "squeeze", "ndim", "dtype", "item", "mean", "sum",
                                 "argmax", "reshape", "flatten", "int", "half")  # fmt: skip
    return False
