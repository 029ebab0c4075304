"""What the values of rows are, as far as the text shows: tensors, whole numbers or texts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from edge_glass.tools.code.bindings import FunctionNode, body_nodes
from edge_glass.tools.code.expressions import dotted, text_of

_MAKES_TENSOR = frozenset(
    {"arange", "as_tensor", "cat", "empty", "eye", "from_numpy", "full", "linspace", "ones"}
    | {"rand", "randint", "randn", "stack", "tensor", "zeros"}
)
_KEEPS_TENSOR = frozenset(
    {"bool", "clone", "contiguous", "double", "float", "half", "int", "long", "permute"}
    | {"reshape", "squeeze", "to", "unsqueeze", "view"}
)


def kinds_of(dicts: Sequence[ast.Dict], counters: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the kind of each key on which all dicts agree: "tensor", "int" or "text".

    Args:
        dicts: dicts that are written out.
        counters: names that hold whole numbers.
    """
    found: dict[str, set[str]] = {}
    for each in dicts:
        for key, value in zip(each.keys, each.values, strict=True):
            name = text_of(key)
            if name is not None:
                found.setdefault(name, set()).add(_kind(value, counters))
    return {key: kind for key, kinds in found.items() if len(kinds) == 1 for kind in kinds if kind}


def kinds_of_rows(method: FunctionNode) -> dict[str, str]:
    """Return the kinds of the dicts that `__getitem__` or `__iter__` of a data set makes."""
    names = [each.arg for each in method.args.args]
    rebound = {each.id for each in body_nodes(method.body)
               if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}  # fmt: skip
    is_item = method.name == "__getitem__" and len(names) == 2
    counters = frozenset(names[1:]) - rebound if is_item else frozenset()
    dicts = [each for each in body_nodes(method.body) if isinstance(each, ast.Dict)]
    stored = [
        ast.Dict(keys=[target.slice], values=[each.value])
        for each in body_nodes(method.body)
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Subscript)
    ]
    return kinds_of([*dicts, *stored], counters)


def common_kinds(all_kinds: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the kinds on which several data sets agree."""
    first, *others = [dict(each) for each in all_kinds] or [{}]
    return {key: kind for key, kind in first.items()
            if all(each.get(key) == kind for each in others)}  # fmt: skip


def _kind(node: ast.expr, counters: frozenset[str]) -> str:
    if isinstance(node, ast.Constant):
        return {int: "int", str: "text"}.get(type(node.value), "")
    if isinstance(node, ast.Name):
        return "int" if node.id in counters else ""
    if isinstance(node, ast.JoinedStr):
        return "text"
    if not isinstance(node, ast.Call):
        return ""
    root, _, last = (dotted(node.func) or "").rpartition(".")
    if root == "torch" and last in _MAKES_TENSOR:
        return "tensor"
    if not root and last in ("int", "len"):
        return "int"
    if not root and last == "str":
        return "text"
    if isinstance(node.func, ast.Attribute) and node.func.attr in _KEEPS_TENSOR:
        return "tensor" if _kind(node.func.value, counters) == "tensor" else ""
    return ""
