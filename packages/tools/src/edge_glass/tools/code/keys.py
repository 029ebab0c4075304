"""The keys of the dicts that a function returns, as far as its text shows them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from edge_glass.tools.code.bindings import FunctionNode, body_nodes
from edge_glass.tools.code.expressions import dotted, text_of

_MAX_DEPTH = 6  # of functions that call each other


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of a dict. `open`: it may have more. `copies`: it has all keys of a row too."""

    names: frozenset[str] = frozenset()
    open: bool = False
    copies: bool = False

    def __or__(self, other: Keys) -> Keys:
        return Keys(
            names=self.names | other.names,
            open=self.open or other.open,
            copies=self.copies or other.copies,
        )


OPEN = Keys(open=True)
Function = FunctionNode | ast.Lambda
Find = Callable[[str], Function | None]


def own_nodes(function: Function) -> list[ast.AST]:
    """Return the nodes of a function without those of the functions in it, in text order."""
    body: list[ast.AST] = [function.body] if isinstance(function, ast.Lambda) else [*function.body]
    found = list(body_nodes(body))
    for node in list(found):
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            found += list(ast.walk(node))
    return found


def returned(function: Function) -> list[ast.expr]:
    """Return the expressions that a function returns, or yields if it is a generator."""
    if isinstance(function, ast.Lambda):
        return [function.body]
    nodes = list(body_nodes(function.body))
    yields = [each.value for each in nodes if isinstance(each, ast.Yield)]
    values = yields or [each.value for each in nodes if isinstance(each, ast.Return)]
    return [value for value in values if value is not None]


def returned_keys(function: Function, find: Find, depth: int = 0) -> Keys | None:
    """Return the keys of the dict that a function returns; None if it returns no dict.

    Args:
        function: what to read.
        find: returns the notebook's function of a name, or None.
        depth: how many calls led here.
    """
    if depth > _MAX_DEPTH:
        return OPEN
    reader = _Reader(function, find, depth)
    kinds = [reader.keys(value) for value in returned(function)]
    dicts = [kind for kind in kinds if kind is not None]
    if not dicts:
        return None
    result = dicts[0]
    for kind in dicts[1:]:
        result = result | kind
    return result


def literal_keys(node: ast.expr) -> Keys | None:
    """Return the keys of a dict that is written out, outside of any function."""
    function = ast.Lambda(
        args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=node,
    )
    return _Reader(function, lambda _name: None, 0).keys(node)


class _Reader:
    def __init__(self, function: Function, find: Find, depth: int) -> None:
        self._nodes = own_nodes(function)
        self._find = find
        self._depth = depth
        self._busy: set[str] = set()
        self._rows = {each.arg for each in function.args.args} - {"self", "cls"}

    def keys(self, node: ast.expr) -> Keys | None:
        if isinstance(node, ast.Dict):
            return self._dict(node)
        if isinstance(node, ast.DictComp):
            return self._comprehension(node)
        if isinstance(node, ast.Name):
            return self._variable(node.id)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.IfExp):
            one, two = self.keys(node.body), self.keys(node.orelse)
            return one | two if one is not None and two is not None else one or two
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return (self.keys(node.left) or OPEN) | (self.keys(node.right) or OPEN)
        if isinstance(node, (ast.Tuple, ast.List, ast.ListComp, ast.GeneratorExp, ast.Constant)):
            return None
        return OPEN

    def _dict(self, node: ast.Dict) -> Keys:
        found = Keys()
        for key, value in zip(node.keys, node.values, strict=True):
            name = text_of(key)
            if key is None:
                found |= self.keys(value) or OPEN
            else:
                found |= Keys(names=frozenset({name})) if name is not None else OPEN
        return found

    def _comprehension(self, node: ast.DictComp) -> Keys:
        """Read `{k: … for k in ("a", "b")}` and `{k: … for k in rows[0]}`."""
        source = node.generators[0].iter
        called = source.func if isinstance(source, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in ("keys", "items"):
            source = called.value
        if isinstance(source, (ast.Tuple, ast.List, ast.Set)):
            names = [text_of(each) for each in source.elts]
            if None not in names:
                return Keys(names=frozenset(name for name in names if name is not None))
        if isinstance(source, ast.Subscript) and isinstance(source.value, ast.Name):
            return Keys(copies=True) if source.value.id in self._rows else OPEN
        return self.keys(source) or OPEN if isinstance(source, ast.Name) else OPEN

    def _call(self, node: ast.Call) -> Keys | None:
        name = dotted(node.func) or ""
        last = name.rpartition(".")[2]
        if name == "dict":
            found = Keys()
            for argument in node.args:
                found |= self.keys(argument) or OPEN
            for keyword in node.keywords:
                found |= (
                    Keys(names=frozenset({keyword.arg}))
                    if keyword.arg is not None
                    else self.keys(keyword.value) or OPEN
                )
            return found
        if last == "default_collate" or last in ("collate_captions", "collate_questions"):
            made = frozenset({"attention_mask"} if last == "collate_questions" else ())
            return Keys(names=made, copies=True)
        if last in ("stack", "cat", "pad_sequence", "tensor", "list", "tuple", "as_tensor"):
            return None
        function = self._find(name)
        if function is None:
            return OPEN
        return returned_keys(function, self._find, self._depth + 1)

    def _variable(self, name: str) -> Keys | None:
        """Read a dict that is filled step by step: `out["a"] = …`, `out.update(b=…)`."""
        if name in self._busy:
            return Keys()
        self._busy.add(name)
        found: list[Keys | None] = []
        stored = Keys()
        for node in self._nodes:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                places = node.targets if isinstance(node, ast.Assign) else [node.target]
                for place in places:
                    if isinstance(place, ast.Name) and place.id == name:
                        found.append(self.keys(node.value))
                    elif isinstance(place, ast.Subscript) and dotted(place.value) == name:
                        key = text_of(place.slice)
                        stored |= Keys(names=frozenset({key})) if key is not None else OPEN
            elif isinstance(node, ast.AugAssign) and dotted(node.target) == name:
                stored |= self.keys(node.value) or OPEN
            elif isinstance(node, ast.Call) and dotted(node.func) == f"{name}.update":
                stored |= self._call(
                    ast.Call(func=ast.Name("dict", ast.Load()), args=node.args,
                             keywords=node.keywords)) or OPEN  # fmt: skip
            elif isinstance(node, ast.Call) and dotted(node.func) == f"{name}.setdefault":
                key = text_of(node.args[0]) if node.args else None
                stored |= Keys(names=frozenset({key})) if key is not None else OPEN
        self._busy.discard(name)
        dicts = [kind for kind in found if kind is not None]
        if found and not dicts and not stored.names:
            return None
        if not found:
            return OPEN
        result = stored
        for kind in dicts:
            result |= kind
        return result
