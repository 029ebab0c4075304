"""The names that code binds, and the functions around a call."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, *COMPREHENSIONS)


@dataclass(frozen=True)
class ScopedCall:
    """A call, with the names that are local to the functions around it, and those functions."""

    node: ast.Call
    hidden: frozenset[str]
    functions: tuple[str, ...]


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """Return all parameters of a function or lambda, the starred ones included."""
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [each for each in (arguments.vararg, arguments.kwarg) if each is not None]


def targets(node: ast.AST) -> Iterator[str]:
    """Yield the names that an assignment target, an import or a definition binds."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            if alias.name != "*":
                yield alias.asname or alias.name.split(".")[0]
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.MatchMapping):
        yield from [node.rest] if node.rest else []
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        yield from [node.name] if node.name else []


def body_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes below `nodes` without those of nested functions, classes and lambdas."""
    stack = list(nodes)[::-1]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, COMPREHENSIONS):  # a walrus in it binds outside of it
            walrus = [each for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
            stack += [each.target for each in walrus]
        elif not isinstance(node, _SCOPES):
            stack += list(ast.iter_child_nodes(node))[::-1]


def local_names(function: FunctionNode | ast.Lambda) -> set[str]:
    """Return the names that are local to a function."""
    names = {each.arg for each in parameters(function.args)} | type_parameters(function)
    if isinstance(function, ast.Lambda):
        return names
    outer: set[str] = set()
    for node in body_nodes(function.body):
        names.update(targets(node))
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
    return names - outer


def scoped_calls(tree: ast.Module) -> tuple[ScopedCall, ...]:
    """Return the calls of a cell, in the order of the text."""
    found: list[ScopedCall] = []
    stack: list[tuple[ast.AST, frozenset[str], tuple[str, ...]]] = [
        (statement, frozenset(), ()) for statement in reversed(tree.body)
    ]
    while stack:
        node, hidden, functions = stack.pop()
        if isinstance(node, ast.Call):
            found.append(ScopedCall(node, hidden, functions))
        elif isinstance(node, (FunctionNode, ast.Lambda)):
            name = node.name if isinstance(node, FunctionNode) else "<lambda>"
            hidden, functions = hidden | local_names(node), (*functions, name)
        elif isinstance(node, COMPREHENSIONS):
            inner = [n for each in node.generators for n in ast.walk(each.target)]
            hidden = hidden | {name for n in inner for name in targets(n)}
        children = list(ast.iter_child_nodes(node))
        stack += [(child, hidden, functions) for child in reversed(children)]
    return tuple(found)


def type_parameters(node: ast.AST) -> set[str]:
    """Return the names of `class A[T]`, which Python 3.12 brought."""
    return {each.name for each in getattr(node, "type_params", [])}
