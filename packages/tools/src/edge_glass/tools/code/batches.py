"""Producers against consumers: the keys of batches and rows, and the code that reads them.

Values are followed through the notebook: a data set gives rows, a collate function makes a batch of
rows, a loader gives batches, a loop or `next(iter(…))` takes one, a function is handed one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import argument, dotted, text_of
from edge_glass.tools.code.keys import Function, Keys, literal_keys, own_nodes, returned_keys
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.scopes import FunctionNode, body_nodes, parameters, targets

_PASSES_ON = frozenset(
    {"cycle", "islice", "iter", "list", "prepare", "tqdm", "track", "trange", "tuple", "reversed"}
    | {"notebook_tqdm", "progress_bar", "MpDeviceLoader", "sorted", "sample", "choice", "shuffle"}
)
_COLLATE_NAME = re.compile(
    r"\w*collate(_fn|_batch|r|_\w+)?|\w*[a-z]Collat(e|or)\w*|Collat(e|or)\w*"
)
_LOADER_NAME = re.compile(r"(^|_)(data)?loaders?($|_)|(^|_)dl($|_)|DataLoader", re.IGNORECASE)
RELEVANT = re.compile(r"collate|DataLoader|__getitem__|Collat")


@dataclass(eq=False)
class Collate:
    """A collate function of the notebook, and what reads of its batches were found."""

    name: str
    cell: PythonCell
    node: Function
    rows: str  # its parameter
    keys: Keys | None  # of the batch; None: it returns no dict
    row_reads: set[str] = field(default_factory=set)
    row_keys: Keys | None = None  # of the data set that it is used with, if that is known


@dataclass(frozen=True)
class Item:
    """A dict that code reads keys of."""

    what: str  # "batch" or "row"
    keys: Keys
    owner: str  # for messages: who makes it
    collate: Collate | None = None


@dataclass(frozen=True)
class Many:
    """A sequence or an iterator of dicts."""

    item: Item


Value = Item | Many


@dataclass(frozen=True)
class KeyRead:
    """A key that is read from a dict that has no such key."""

    cell: PythonCell
    key: str
    item: Item
    node: ast.expr
    as_tensor: bool  # the code calls a tensor's method on the value


@dataclass(eq=False)
class _Scope:
    """The module (`function` is None) or a function, with the values of its variables by place."""

    cell: PythonCell | None
    function: Function | None
    parent: _Scope | None
    values: dict[str, list[tuple[tuple[int, int, int], Value]]] = field(default_factory=dict)
    extra: dict[str, set[str]] = field(default_factory=dict)  # keys added or tested by the reader


class Batches:
    """The batches and rows of a notebook."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.collates: dict[str, Collate] = {}
        self.missing: list[KeyRead] = []
        text = "\n".join(cell.text for cell in program.cells)
        if not RELEVANT.search(text):
            return
        self._functions: dict[str, tuple[PythonCell, Function]] = {}
        self._classes: dict[str, tuple[PythonCell, ast.ClassDef]] = {}
        self._index()
        used = set(re.findall(r"\bcollate_fn\s*=\s*(?:\w+\.)*(\w+)", text))
        used |= set(re.findall(r"\bcollate_fn\s*=\s*(?:\w+\.)?partial\(\s*(?:\w+\.)*(\w+)", text))
        for name, (cell, function) in self._functions.items():
            last = name.rpartition(".")[2]
            owner = name.rpartition(".")[0]
            is_call = last == "__call__" and (_COLLATE_NAME.fullmatch(owner) or owner in used)
            if last in used or _COLLATE_NAME.fullmatch(last) or is_call:
                self._collate(name, cell, function)
        self._module = _Scope(None, None, None)
        self._scopes: dict[int, _Scope] = {}
        self._flat: dict[int, tuple[ast.AST, ...]] = {}  # the nodes of a body, by its first one
        for _ in range(4):  # each round follows values one call further
            self.missing, self._changed = [], False
            self._walk()
            if not self._changed:
                break

    # What the notebook defines.

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

    # Values.

    def _walk(self) -> None:
        for cell in self._program.cells:
            self._statements(cell, cell.syntax.body, self._module)

    def _statements(self, cell: PythonCell, body: Sequence[ast.AST], scope: _Scope) -> None:
        key = id(body[0]) if body else 0
        if key not in self._flat:
            self._flat[key] = tuple(body_nodes(body))
        for node in self._flat[key] if body else ():
            self._bindings(cell, node, scope)
            if isinstance(node, ast.Lambda) or isinstance(node, FunctionNode):
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

    def _scope(self, cell: PythonCell, node: ast.AST, parent: _Scope) -> _Scope:
        function = node if isinstance(node, (FunctionNode, ast.Lambda)) else None
        return self._scopes.setdefault(id(node), _Scope(cell, function, parent))

    def _function(self, cell: PythonCell, node: Function, scope: _Scope) -> None:
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

    def _bindings(self, cell: PythonCell, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(cell, target, node.value, scope)
        elif (isinstance(node, ast.AnnAssign) and node.value is not None) or isinstance(node, ast.NamedExpr):
            self._assign(cell, node.target, node.value, scope)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._loop(cell, node.target, node.iter, scope)
        elif isinstance(node, ast.Call):
            self._hand_over(cell, node, scope)

    def _assign(self, cell: PythonCell, target: ast.expr, value: ast.expr, scope: _Scope) -> None:
        if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            if len(target.elts) == len(value.elts):
                for one, other in zip(target.elts, value.elts, strict=True):
                    self._assign(cell, one, other, scope)
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
            for key, each in zip(value.keys, value.values, strict=True):
                if text_of(key) is not None:
                    self._bind(cell, f"{name}[{text_of(key)}]", each, scope, target)
        self._bind(cell, name, value, scope, target)

    def _bind(
        self, cell: PythonCell, name: str, node: ast.expr, scope: _Scope, place: ast.expr
    ) -> None:
        value = self._value(cell, node, scope)
        if value is not None:
            self._set(scope, name, (cell.index, place.lineno, place.col_offset), value)

    def _set(self, scope: _Scope, name: str, place: tuple[int, int, int], value: Value) -> None:
        entries = scope.values.setdefault(name, [])
        if (place, value) in entries:
            return
        self._changed = True
        entries[:] = sorted([*(e for e in entries if e[0] != place), (place, value)],
                            key=lambda entry: entry[0])  # fmt: skip

    def _loop(self, cell: PythonCell, target: ast.expr, source: ast.expr, scope: _Scope) -> None:
        place = (cell.index, target.lineno, target.col_offset)
        if isinstance(source, ast.Call) and isinstance(target, (ast.Tuple, ast.List)):
            called = (dotted(source.func) or "").rpartition(".")[2]
            if called in _PASSES_ON and source.args:
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

    def _only_batch(self) -> Item | None:
        """Return the batch of the one collate function, if the notebook has exactly one."""
        items = [self._batch(each) for each in self.collates.values() if each.keys is not None]
        return items[0] if len(items) == 1 else None

    def _value(self, cell: PythonCell, node: ast.expr, scope: _Scope) -> Value | None:
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

    def _rows(self, cell: PythonCell, node: ast.expr, scope: _Scope) -> Value | None:
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

    def _one_of(self, cell: PythonCell, nodes: Sequence[ast.expr], scope: _Scope) -> Many | None:
        value = self._value(cell, nodes[0], scope)
        return Many(value) if isinstance(value, Item) else None

    def _look_up(
        self, cell: PythonCell, name: str | None, node: ast.expr, scope: _Scope
    ) -> Value | None:
        if name is None:
            return None
        here: _Scope | None = scope
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

    def _call(self, cell: PythonCell, node: ast.Call, scope: _Scope) -> Value | None:
        name = dotted(node.func) or ""
        last = name.rpartition(".")[2] or (
            node.func.attr if isinstance(node.func, ast.Attribute) else ""
        )
        if last.endswith("DataLoader") or any(each.arg == "collate_fn" for each in node.keywords):
            return self._loader(cell, node, scope)
        if last == "next" and node.args:
            value = self._value(cell, node.args[0], scope)
            return value.item if isinstance(value, Many) else None
        if last in _PASSES_ON and node.args:
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

    def _loader(self, cell: PythonCell, node: ast.Call, scope: _Scope) -> Value | None:
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
            for value in _values_of(self._program, binding.node, name):
                if isinstance(value, ast.Call) and dotted(value.func) != name:
                    return self._collate_of(cell, value)
        return None

    def _batch(self, collate: Collate) -> Item:
        keys = collate.keys or Keys(open=True)
        if keys.copies:
            rows = collate.row_keys or Keys(open=True)
            keys = keys | Keys(names=rows.names, open=rows.open)
        return Item("batch", keys, f"`{collate.name}`", collate)

    def _hand_over(self, cell: PythonCell, node: ast.Call, scope: _Scope) -> None:
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
            if known is not None:
                self._set(inside, name, (0, 0, 0), known)

    # Reads.

    def _reads(self, cell: PythonCell, node: ast.AST, scope: _Scope) -> None:
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
        here: _Scope | None = scope
        while here is not None:
            if {key, "*"} & here.extra.get(dotted(owner) or "?", set()):
                return
            here = here.parent
        assert isinstance(node, ast.expr)
        self.missing.append(KeyRead(cell, key, value, node, _is_tensor(cell, node)))


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
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "get" and dotted(node.func.value) in names:
                found.add(text_of(node.args[0]))
    return {key for key in found if key is not None}


def _values_of(program: Program, place: ast.AST, name: str) -> Iterator[ast.expr]:
    for cell in program.cells:
        for node in cell.nodes:
            if isinstance(node, ast.Assign) and any(place is target for target in node.targets):
                yield node.value


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
