"""Small readers of expressions."""

from __future__ import annotations

import ast


def dotted(node: ast.AST | None) -> str | None:
    """Return `a.b.c` for a name or a chain of attributes of a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and not parts:
        inner = dotted(node.value)
        return f"{inner}[:]" if inner else None
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def held(node: ast.AST | None) -> str | None:
    """Return `a.b.c` for a name, and for attributes and constant keys of it: `a["b"].c`."""
    parts: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        key = node.attr if isinstance(node, ast.Attribute) else text_of(node.slice)
        if key is None or not key.isidentifier():
            return None
        parts.append(key)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def text_of(node: ast.AST | None) -> str | None:
    """Return the value of a string literal, else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def argument(call: ast.Call, name: str, place: int | None = None) -> ast.expr | None:
    """Return what a call gives as `name=…` or at a position, if it does."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if place is None or any(isinstance(each, ast.Starred) for each in call.args[: place + 1]):
        return None
    return call.args[place] if place < len(call.args) else None


def shown(node: ast.AST, limit: int = 72) -> str:
    """Return an expression as one line of at most `limit` characters, for messages."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
