"""What an expression of a notebook is: a data set, its rows, a loader, a batch, or none."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from edge_glass.tools.code.batch_items import Collate, Item, Many, Scope, Value
from edge_glass.tools.code.bindings import FunctionNode, body_nodes, parameters, targets
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import argument, dotted, text_of
from edge_glass.tools.code.keys import Function, Keys, literal_keys, own_nodes, returned_keys
from edge_glass.tools.code.program import Program

PASSES_ON = frozenset(
    {"cycle", "islice", "iter", "list", "prepare", "tqdm", "track", "trange", "tuple", "reversed"}
    | {"notebook_tqdm", "progress_bar", "MpDeviceLoader", "sorted", "sample", "choice", "shuffle"}
)


class BatchValues:
    """Finds the data sets, collate functions and loaders of a notebook."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.collates: dict[str, Collate] = {}
        self._functions: dict[str, tuple[PythonCell, Function]] = {}
        self._classes: dict[str, tuple[PythonCell, ast.ClassDef]] = {}
        self._scopes: dict[int, Scope] = {}
        self._changed = False  # whether a value was learnt in this round

    def _index(self) -> None:
        for cell in self._program.cells:
            for node in body_nodes(cell.syntax.body):
                self._define(cell, node, "")

    def _define(self, cell: PythonCell, node: ast.AST, owner: str) -> None:
        if isinstance(node, FunctionNode):
            self._functions[owner + node.name] = (cell, node)
            for inner in body_nodes(node.body):
                if isinstance(inner, FunctionNode):
                    self._functions.setdefault(inner.name, (cell, inner))
        elif isinstance(node, ast.ClassDef):
            self._classes[node.name] = (cell, node)
            for inner in node.body:
                self._define(cell, inner, f"{node.name}.")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            for name in (n for target in node.targets for n in targets(target)):
                self._functions[name] = (cell, node.value)

    def _find(self, name: str) -> Function | None:
        found = self._functions.get(name)
        return found[1] if found is not None else None

    def _collate(self, name: str, cell: PythonCell, node: Function) -> Collate | None:
        names = [each.arg for each in parameters(node.args) if each.arg not in ("self", "cls")]
        if not names:
            return None
        rows = names[0]
        if name not in self.collates:
            keys = returned_keys(node, self._find)
            self.collates[name] = Collate(name, cell, node, rows, keys, row_reads(node, rows))
        return self.collates[name]

    def _only_batch(self) -> Item | None:
        """Return the batch of the one collate function, if the notebook has exactly one."""
        items = [self._batch(each) for each in self.collates.values() if each.keys is not None]
        return items[0] if len(items) == 1 else None

    def _value(self, cell: PythonCell, node: ast.expr, scope: Scope) -> Value | None:
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._look_up(cell, dotted(node), node, scope)
        if isinstance(node, ast.Call):
            return self._call(cell, node, scope)
        if isinstance(node, ast.Subscript):
            name, key = dotted(node.value), text_of(node.slice)
            if key is not None:
                return self._look_up(cell, f"{name}[{key}]", node, scope) if name else None
            owner = self._value(cell, node.value, scope)
            if isinstance(owner, Many):
                return owner if isinstance(node.slice, ast.Slice) else owner.item
            return None
        if isinstance(node, ast.IfExp):
            return self._value(cell, node.body, scope) or self._value(cell, node.orelse, scope)
        if isinstance(node, ast.DictComp):  # `{k: v.to(device) for k, v in batch.items()}`
            source = node.generators[0].iter
            is_items = isinstance(source, ast.Call) and (dotted(source.func) or "").endswith(
                ".items"
            )
            if is_items and isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute):
                return self._value(cell, source.func.value, scope)
            return None
        return self._rows(cell, node, scope)

    def _rows(self, cell: PythonCell, node: ast.expr, scope: Scope) -> Value | None:
        """Read a data set that is written out: a list of dicts, or a comprehension of them."""
        if isinstance(node, ast.List) and node.elts:
            kinds = [literal_keys(each) if isinstance(each, ast.Dict) else None
                     for each in node.elts]  # fmt: skip
            known = [kind for kind in kinds if kind is not None]
            if len(known) == len(kinds):
                common = frozenset.intersection(*[kind.names for kind in known])
                is_open = any(kind.open for kind in known)
                return Many(Item("row", Keys(names=common, open=is_open), "the list of rows"))
            return self._one_of(cell, node.elts, scope)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            if isinstance(node.elt, ast.Dict):
                keys = literal_keys(node.elt)
                return Many(Item("row", keys, "the list of rows")) if keys is not None else None
            inside = self._scope(cell, node, scope)
            value = self._value(cell, node.elt, inside)
            return Many(value) if isinstance(value, Item) else None
        return None

    def _one_of(self, cell: PythonCell, nodes: Sequence[ast.expr], scope: Scope) -> Many | None:
        value = self._value(cell, nodes[0], scope)
        return Many(value) if isinstance(value, Item) else None

    def _look_up(
        self, cell: PythonCell, name: str | None, node: ast.expr, scope: Scope
    ) -> Value | None:
        if name is None:
            return None
        here: Scope | None = scope
        place = (cell.index, node.lineno, node.col_offset)
        while here is not None:
            entries = here.values.get(name, [])
            inside = here is scope or here.function is scope.function
            before = [value for at, value in entries if at <= place]
            if before:
                return before[-1]
            if entries and not (inside and here.function is None and here.parent is None):
                return entries[-1][1]
            here = here.parent
        return None

    def _call(self, cell: PythonCell, node: ast.Call, scope: Scope) -> Value | None:
        name = dotted(node.func) or ""
        last = name.rpartition(".")[2] or (
            node.func.attr if isinstance(node.func, ast.Attribute) else ""
        )
        if last.endswith("DataLoader") or any(each.arg == "collate_fn" for each in node.keywords):
            return self._loader(cell, node, scope)
        if last == "next" and node.args:
            value = self._value(cell, node.args[0], scope)
            return value.item if isinstance(value, Many) else None
        if last in PASSES_ON and node.args:
            return self._value(cell, node.args[0], scope)
        if last in ("to", "cuda", "copy", "select", "shuffle") and isinstance(
            node.func, ast.Attribute
        ):
            return self._value(cell, node.func.value, scope)
        if name in self.collates:
            return self._batch(self.collates[name])
        if name in self._functions:
            return self._returned(name)
        return self._data_set(cell, name)

    def _returned(self, name: str) -> Value | None:
        """Return what a function of the notebook returns, if that is a loader or a data set."""
        cell, function = self._functions[name]
        scope = self._scopes.get(id(function))
        if scope is None or isinstance(function, ast.Lambda):
            return None
        for node in body_nodes(function.body):
            if isinstance(node, ast.Return) and node.value is not None:
                return self._value(cell, node.value, scope)
        return None

    def _data_set(self, cell: PythonCell, name: str) -> Value | None:
        """Return the rows that instances of a class give, by its `__getitem__` or `__iter__`."""
        found = self._program.resolve(name, cell.index) if name else None
        if found is None or not isinstance(found.node, ast.ClassDef):
            return None
        for method in found.node.body:
            if isinstance(method, FunctionNode) and method.name in ("__getitem__", "__iter__"):
                keys = returned_keys(method, self._find)
                return Many(Item("row", keys, found.node.name)) if keys is not None else None
        return None

    def _loader(self, cell: PythonCell, node: ast.Call, scope: Scope) -> Value | None:
        first = argument(node, "dataset", 0)
        data = self._value(cell, first, scope) if first is not None else None
        row = data.item if isinstance(data, Many) else None
        given = argument(node, "collate_fn")
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            if row is None:
                return None
            return Many(Item("batch", row.keys, f"{row.owner} through the default collate"))
        collate = self._collate_of(cell, given)
        if collate is None:
            return None
        if row is not None and row.what == "row":
            collate.row_keys = row.keys
            inside = self._scope(collate.cell, collate.node, scope)
            self._set(inside, collate.rows, (0, 0, 0), Many(row))
        return Many(self._batch(collate)) if collate.keys is not None else None

    def _collate_of(self, cell: PythonCell, given: ast.expr) -> Collate | None:
        if isinstance(given, ast.Lambda):
            body = given.body
            if isinstance(body, ast.Call) and dotted(body.func) in self.collates:
                return self.collates[dotted(body.func) or ""]
            return self._collate(f"<lambda {given.lineno}:{given.col_offset}>", cell, given)
        if isinstance(given, ast.Call):
            name = (dotted(given.func) or "").rpartition(".")[2]
            if name == "partial" and given.args:
                return self._collate_of(cell, given.args[0])
            return self.collates.get(f"{name}.__call__")
        name = dotted(given) or ""
        last = name.rpartition(".")[2]
        if name in self.collates:
            return self.collates[name]
        endings = [each for key, each in self.collates.items() if key.endswith(f".{last}")]
        if len(endings) == 1:
            return endings[0]
        bound = self._program.bindings.get(name, [])
        for binding in bound[-1:]:  # `collate = Collator(tokenizer)`
            for value in _values_of(self._program, binding.node):
                if isinstance(value, ast.Call) and dotted(value.func) != name:
                    return self._collate_of(cell, value)
        return None

    def _batch(self, collate: Collate) -> Item:
        keys = collate.keys or Keys(open=True)
        if keys.copies:
            rows = collate.row_keys or Keys(open=True)
            keys = keys | Keys(names=rows.names, open=rows.open)
        return Item("batch", keys, f"`{collate.name}`", collate)

    def _set(self, scope: Scope, name: str, place: tuple[int, int, int], value: Value) -> None:
        entries = scope.values.setdefault(name, [])
        if (place, value) in entries:
            return
        self._changed = True
        entries[:] = sorted([*(e for e in entries if e[0] != place), (place, value)],
                            key=lambda entry: entry[0])  # fmt: skip

    def _scope(self, cell: PythonCell, node: ast.AST, parent: Scope) -> Scope:
        function = node if isinstance(node, (FunctionNode, ast.Lambda)) else None
        return self._scopes.setdefault(id(node), Scope(cell, function, parent))


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


def _values_of(program: Program, place: ast.AST) -> Iterator[ast.expr]:
    for cell in program.cells:
        for node in cell.nodes:
            if isinstance(node, ast.Assign) and any(place is target for target in node.targets):
                yield node.value
