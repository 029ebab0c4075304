"""Finds the collate functions of a notebook, and the parameter of each that gets the batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from edge_glass.tools.code.batch_items import Collate, Scope
from edge_glass.tools.code.bindings import FunctionNode, body_nodes, parameters, targets
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.keys import Function, own_nodes, returned, returned_keys
from edge_glass.tools.code.program import Program

_MAX_DEPTH = 5  # of names, partials and factories that lead to one function
# A collate function, and the place or the name of the parameter that gets the batch.
_Found = tuple[Collate, int | str]


class Collates:
    """The functions of a notebook that make batches."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.collates: dict[str, Collate] = {}
        self._functions: dict[str, tuple[PythonCell, Function]] = {}
        self._owners: dict[int, str] = {}  # the class of a method, by the method's id
        self._bases: dict[str, list[str]] = {}

    def _index(self) -> None:
        for cell in self.program.cells:
            for node in body_nodes(cell.syntax.body):
                self._define(cell, node, "")

    def _define(self, cell: PythonCell, node: ast.AST, owner: str) -> None:
        if isinstance(node, FunctionNode):
            self._functions[owner + node.name] = (cell, node)
            for inner in body_nodes(node.body):
                if isinstance(inner, FunctionNode):
                    self._functions.setdefault(inner.name, (cell, inner))
        elif isinstance(node, ast.ClassDef):
            self._bases[node.name] = [dotted(base) or "" for base in node.bases]
            for inner in node.body:
                self._define(cell, inner, f"{node.name}.")
                self._owners[id(inner)] = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            for name in (n for target in node.targets for n in targets(target)):
                self._functions[name] = (cell, node.value)

    def _find(self, name: str) -> Function | None:
        found = self._functions.get(name)
        return found[1] if found is not None else None

    def _collate(self, name: str, cell: PythonCell, node: Function) -> Collate | None:
        for each in self.collates.values():
            if each.node is node:
                return each
        names = _row_parameters(node) or [each.arg for each in parameters(node.args)]
        if not names or names == ["self"]:
            return None
        keys = returned_keys(node, self._find)
        made = Collate(name, cell, node, names[0], keys, row_reads(node, names[0]))
        made.tuples = _unpacks(node, names[0])
        place = name if name not in self.collates else f"{name}:{cell.index}:{id(node)}"
        self.collates[place] = made
        return made

    def _collate_of(self, cell: PythonCell, given: ast.expr, scope: Scope) -> Collate | None:
        """Return what a loader calls for its batches, if that is a function of the notebook."""
        found = self._resolve(cell, given, scope, 0)
        if found is None:
            return None
        collate, at = found
        names = _row_parameters(collate.node) or [collate.rows]
        if isinstance(at, int):
            at = names[at] if at < len(names) else ""
        name = at if at in names and collate.received in (None, at) else ""
        collate.received = name
        if collate.rows != name:
            collate.rows = name
            collate.row_reads = row_reads(collate.node, name) if name else set()
            collate.tuples = collate.tuples or _unpacks(collate.node, name)
        return collate

    def _resolve(
        self, cell: PythonCell, given: ast.expr, scope: Scope | None, depth: int
    ) -> _Found | None:
        if depth > _MAX_DEPTH:
            return None
        if isinstance(given, ast.Lambda):
            return self._of_lambda(cell, given, scope, depth)
        if isinstance(given, ast.Call):
            return self._of_call(cell, given, scope, depth)
        name = dotted(given) or ""
        owner, _, last = name.rpartition(".")
        if owner in ("self", "cls"):
            method = self._method(_class_of(scope, self._owners), last)
            return (method, 0) if method is not None else None
        if _is_parameter(scope, name):
            return None
        inner = _inner_function(scope, name)
        if inner is not None:
            made = self._collate(name, cell, inner)
            return (made, 0) if made is not None else None
        if name in self.collates:
            known = self.collates[name]
            if isinstance(known.node, ast.Lambda):
                return self._of_lambda(known.cell, known.node, scope, depth + 1)
            return known, 0
        endings = [each for key, each in self.collates.items() if key.endswith(f".{last}")]
        if len(endings) == 1:
            return endings[0], 0
        bound = self.program.bindings.get(name, [])
        for binding in bound[-1:]:  # `collate = Collator(tokenizer)`
            for value in _values_of(self.program, binding.node):
                if isinstance(value, (ast.Call, ast.Name)):
                    return self._resolve(cell, value, None, depth + 1)
        return None

    def _of_lambda(
        self, cell: PythonCell, given: ast.Lambda, scope: Scope | None, depth: int
    ) -> _Found | None:
        """Follow `lambda rows: collate(tokenizer, rows)` to the function, else take the lambda."""
        names = [each.arg for each in given.args.args]
        body = given.body
        if isinstance(body, ast.Call) and names:
            name = dotted(body.func) or ""
            if name not in self.collates and name in self._functions:
                self._collate(name, *self._functions[name])
            inner = self._resolve(cell, body.func, scope, depth + 1) if name else None
            starred = any(isinstance(each, ast.Starred) for each in body.args)
            if inner is not None and not starred:
                given_as: list[int | str] = [
                    place for place, each in enumerate(body.args) if dotted(each) == names[0]
                ]
                given_as += [each.arg or "" for each in body.keywords
                             if dotted(each.value) == names[0]]  # fmt: skip
                return inner[0], given_as[0] if len(given_as) == 1 else ""
        made = self._collate(f"<lambda {given.lineno}:{given.col_offset}>", cell, given)
        return (made, 0) if made is not None else None

    def _of_call(
        self, cell: PythonCell, given: ast.Call, scope: Scope | None, depth: int
    ) -> _Found | None:
        """Follow `partial(collate, tokenizer)`, `Collator(0)` and `make_collate(tokenizer)`."""
        name = dotted(given.func) or ""
        last = name.rpartition(".")[2]
        if last == "partial" and given.args:
            inner = self._resolve(cell, given.args[0], scope, depth + 1)
            if inner is None or not isinstance(inner[1], int):
                return inner
            if any(isinstance(each, ast.Starred) for each in given.args):
                return inner[0], ""
            names = _row_parameters(inner[0].node)
            at = inner[1] + len(given.args) - 1
            filled = {each.arg for each in given.keywords}
            return inner[0], "" if at < len(names) and names[at] in filled else at
        called = self.collates.get(f"{last}.__call__")
        if called is not None:
            return called, 0
        if name not in self._functions:
            return None
        at_cell, factory = self._functions[name]
        made = [
            self._resolve(at_cell, each, Scope(at_cell, factory, None), depth + 1)
            for each in returned(factory)
            if isinstance(each, (ast.Name, ast.Lambda, ast.Call))
        ]
        found = [each for each in made if each is not None]
        return found[0] if len(found) == len(returned(factory)) == 1 else None

    def _method(self, owner: str | None, name: str) -> Collate | None:
        """Return the method of a class or of its bases."""
        waiting = [owner] if owner is not None else []
        for each in waiting:
            if f"{each}.{name}" in self.collates:
                return self.collates[f"{each}.{name}"]
            waiting += [base for base in self._bases.get(each, []) if base not in waiting]
        return None


def row_reads(function: Function, rows: str) -> set[str]:
    """Return the keys that a collate function reads from its rows."""
    nodes = own_nodes(function)
    names = {rows}
    for node in nodes:
        source = getattr(node, "iter", None)
        if isinstance(source, ast.Call) and (dotted(source.func) or "") == "enumerate":
            source = source.args[0] if source.args else None
        if isinstance(source, ast.Name) and source.id in names:
            names |= {n for t in ast.walk(node.target) for n in targets(t)}  # type: ignore[attr-defined]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            owner = node.value
            owner = owner.value if isinstance(owner, ast.Subscript) else owner
            if isinstance(owner, ast.Name) and owner.id in names:
                found.add(text_of(node.slice))
        elif isinstance(node, ast.Call) and dotted(node.func) in {f"{name}.get" for name in names}:
            found.add(text_of(node.args[0]) if node.args else None)
    return {key for key in found if key is not None}


def _unpacks(function: Function, rows: str) -> bool:
    """Whether a function takes its rows as tuples: `zip(*rows)`, `for image, text in rows`."""
    for node in own_nodes(function):
        given = node.args if isinstance(node, ast.Call) and dotted(node.func) == "zip" else []
        if any(isinstance(each, ast.Starred) and dotted(each.value) == rows for each in given):
            return True
        target = getattr(node, "target", None)
        if isinstance(target, ast.Tuple) and dotted(getattr(node, "iter", None)) == rows:
            return True
    return False


def _row_parameters(function: Function) -> list[str]:
    """Return the parameters that a batch can be given to by position."""
    found = [*function.args.posonlyargs, *function.args.args]
    return [each.arg for each in found if each.arg not in ("self", "cls")]


def _class_of(scope: Scope | None, owners: dict[int, str]) -> str | None:
    while scope is not None:
        if id(scope.function) in owners:
            return owners[id(scope.function)]
        scope = scope.parent
    return None


def _is_parameter(scope: Scope | None, name: str) -> bool:
    while scope is not None:
        function = scope.function
        if function is not None and name in {e.arg for e in parameters(function.args)}:
            return True
        scope = scope.parent
    return False


def _inner_function(scope: Scope | None, name: str) -> FunctionNode | None:
    """Return the function of that name that is defined in the function around, if one is."""
    while scope is not None:
        if isinstance(scope.function, FunctionNode):
            for node in body_nodes(scope.function.body):
                if isinstance(node, FunctionNode) and node.name == name:
                    return node
        scope = scope.parent
    return None


def _values_of(program: Program, place: ast.AST) -> Iterator[ast.expr]:
    for cell in program.cells:
        for node in cell.nodes:
            if isinstance(node, ast.Assign) and any(place is target for target in node.targets):
                yield node.value
