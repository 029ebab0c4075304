"""What an expression of a notebook is: a data set, its rows, a loader, a batch, or none."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from edge_glass.tools.code.batch_items import Collate, Item, Many, Place, Scope, Value, joined
from edge_glass.tools.code.bindings import FunctionNode, body_nodes
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.collates import Collates
from edge_glass.tools.code.expressions import argument, dotted, text_of
from edge_glass.tools.code.keys import Keys, literal_keys, returned, returned_keys
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.row_kinds import kinds_of, kinds_of_rows

PASSES_ON = frozenset(
    {"cycle", "islice", "iter", "list", "prepare", "tqdm", "track", "trange", "tuple", "reversed"}
    | {"notebook_tqdm", "progress_bar", "MpDeviceLoader", "sorted", "sample", "choice", "shuffle"}
)


class BatchValues(Collates):
    """Finds the data sets and loaders of a notebook."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._scopes: dict[int, Scope] = {}
        self._changed = False  # whether a value was learnt in this round

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
            all_keys = [literal_keys(each) if isinstance(each, ast.Dict) else None
                        for each in node.elts]  # fmt: skip
            known = [keys for keys in all_keys if keys is not None]
            if len(known) == len(all_keys):
                common = frozenset.intersection(*[keys.names for keys in known])
                is_open = any(keys.open for keys in known)
                kinds = kinds_of([each for each in node.elts if isinstance(each, ast.Dict)])
                keys = Keys(names=common, open=is_open)
                return Many(Item("row", keys, "the list of rows", kinds=kinds))
            return self._one_of(cell, node.elts, scope)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            if isinstance(node.elt, ast.Dict):
                found = literal_keys(node.elt)
                item = Item("row", found or Keys(), "the list of rows", kinds=kinds_of([node.elt]))
                return Many(item) if found is not None else None
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
        if last in PASSES_ON | {"Subset", "random_split"} and node.args:
            return self._value(cell, node.args[0], scope)
        if last in ("ChainDataset", "ConcatDataset") and node.args:
            return self._joined(cell, node.args[0], scope)
        if last in ("to", "cuda", "copy", "select", "shuffle") and isinstance(
            node.func, ast.Attribute
        ):
            return self._value(cell, node.func.value, scope)
        if name in self.collates:
            return self._batch(self.collates[name])
        if name in self._functions:
            return self._returned(name)
        return self._data_set(cell, name)

    def _joined(self, cell: PythonCell, node: ast.expr, scope: Scope) -> Value | None:
        """Return the rows of `ConcatDataset([one, two])`."""
        if not isinstance(node, (ast.List, ast.Tuple)):
            return None
        found = [self._value(cell, each, scope) for each in node.elts]
        items = [each.item for each in found if isinstance(each, Many)]
        return Many(joined(items)) if items and len(items) == len(found) else None

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
        found = self.program.resolve(name, cell.index) if name else None
        if found is None or not isinstance(found.node, ast.ClassDef):
            return None
        for method in found.node.body:
            if isinstance(method, FunctionNode) and method.name in ("__getitem__", "__iter__"):
                keys = returned_keys(method, self._find)
                given = returned(method)
                if given and all(isinstance(each, ast.Tuple) for each in given):
                    return Many(Item("tuple", Keys(open=True), found.node.name))
                kinds = kinds_of_rows(method)
                item = Item("row", keys or Keys(), found.node.name, kinds=kinds)
                return Many(item) if keys is not None else None
        return None

    def _loader(self, cell: PythonCell, node: ast.Call, scope: Scope) -> Value | None:
        first = argument(node, "dataset", 0)
        data = self._value(cell, first, scope) if first is not None else None
        row = data.item if isinstance(data, Many) else None
        is_tuple = row is not None and row.what == "tuple"
        row = row if not is_tuple else None
        given = argument(node, "collate_fn")
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            if row is None:
                return None
            return Many(Item("batch", row.keys, f"{row.owner} through the default collate"))
        collate = self._collate_of(cell, given, scope)
        if collate is None:
            return None
        row = row if row is not None and row.what == "row" else None
        place = (cell.index, node.lineno, node.col_offset)
        collate.loaders[place] = self._handed(first, scope) or [row]
        collate.tuples = collate.tuples or is_tuple
        if row is not None and collate.rows:
            inside = self._scope(collate.cell, collate.node, scope)
            self._set(inside, collate.rows, (0, 0, 0), Many(row))
        return Many(self._batch(collate, row)) if collate.keys is not None else None

    def _handed(self, first: ast.expr | None, scope: Scope) -> list[Item | None]:
        """Return the rows that the calls of a function give to its parameter."""
        given = scope.handed.get(first.id, {}) if isinstance(first, ast.Name) else {}
        found: list[Item | None] = []
        for value in given.values():
            row = value.item if isinstance(value, Many) and value.item.what == "row" else None
            if row not in found:
                found.append(row)
        return found

    def _batch(self, collate: Collate, row: Item | None = None) -> Item:
        keys = collate.keys or Keys(open=True)
        if keys.copies:
            rows = (row.keys if row is not None else collate.row_keys) or Keys(open=True)
            keys = keys | Keys(names=rows.names, open=rows.open)
        return Item("batch", keys, f"`{collate.name}`", collate)

    def _set(self, scope: Scope, name: str, place: Place, value: Value) -> None:
        entries = scope.values.setdefault(name, [])
        if (place, value) in entries:
            return
        self._changed = True
        entries[:] = sorted([*(e for e in entries if e[0] != place), (place, value)],
                            key=lambda entry: entry[0])  # fmt: skip

    def _scope(self, cell: PythonCell, node: ast.AST, parent: Scope) -> Scope:
        function = node if isinstance(node, (FunctionNode, ast.Lambda)) else None
        return self._scopes.setdefault(id(node), Scope(cell, function, parent))
