"""Dictionaries that a notebook gives to calls as keywords: `Model(**config)`."""

from __future__ import annotations

import ast

from edge_glass.tools.code.expressions import held, text_of


class KeywordDicts:
    """The dictionaries of the module, as far as each is written once and never changed."""

    def __init__(self) -> None:
        self._written: dict[str, ast.expr] = {}
        self._open: set[str] = set()

    def assign(self, path: str, value: ast.expr) -> None:
        """Note an assignment of the module, also of an item: `config["a"] = 1`."""
        root, _, item = path.partition(".")
        if item or self._written.get(root, value) is not value:
            self._open.add(root)
        elif _is_dict(value):
            self._written[root] = value

    def call(self, path: str) -> None:
        """Note a call that may change a dictionary: `config.update(…)`."""
        root, _, method = path.partition(".")
        if method in ("clear", "pop", "popitem", "setdefault", "update"):
            self._open.add(root)

    def merged(self, call: ast.Call) -> ast.Call:
        """Return a call with the items of its dictionaries as keywords.

        A `device_map` made by hand is left where it is, and the dictionary with it.
        """
        keywords = {each.arg: each.value for each in call.keywords if each.arg is not None}
        for each in call.keywords:
            items = self._items(each.value, depth=3) if each.arg is None else {}
            device_map = items.get("device_map")
            if held(device_map) or not is_plain_map(device_map):
                continue
            keywords = {**items, **keywords}
        made = [ast.keyword(arg=name, value=value) for name, value in keywords.items()]
        return ast.copy_location(ast.Call(func=call.func, args=call.args, keywords=made), call)

    def _items(self, node: ast.expr, depth: int) -> dict[str, ast.expr]:
        """Return the items of a dictionary that are known."""
        name = held(node)
        if name is not None:
            known = depth and name in self._written and name not in self._open
            return self._items(self._written[name], depth - 1) if known else {}
        found: dict[str, ast.expr] = {}
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg is None:
                    found |= self._items(keyword.value, depth - 1) if depth else {}
                else:
                    found[keyword.arg] = keyword.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    found |= self._items(value, depth - 1) if depth else {}
                elif text_of(key) is not None:
                    found[text_of(key) or ""] = value
        return found


def _is_dict(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict) or (
        isinstance(node, ast.Call) and held(node.func) == "dict" and not node.args
    )


def is_plain_map(node: ast.expr | None) -> bool:
    """Whether the plan may replace a `device_map`: `"auto"`, `{"": device}`; not `{"": 0}`."""
    if isinstance(node, ast.IfExp):
        return is_plain_map(node.body)
    if isinstance(node, ast.Dict):
        keys = [text_of(key) if key is not None else None for key in node.keys]
        return keys == [""] and isinstance(node.values[0], ast.Name)
    return not isinstance(node, (ast.Call, ast.DictComp))
