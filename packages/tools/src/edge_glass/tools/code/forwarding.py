"""Signatures, and those of functions that hand their further keywords on to one call."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from edge_glass.tools.code.bindings import FunctionNode


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parameters that a caller can fill. `self` and `cls` are left out."""

    name: str
    positional: tuple[str, ...]  # that can be given by position
    keywords: frozenset[str]  # that can be given by name
    required: frozenset[str]
    takes_args: bool = False
    takes_kwargs: bool = False
    source: str = ""  # the module of the definition, for messages
    summary: str = ""  # the docstring's first line
    switches: frozenset[str] = frozenset()  # parameters whose default or annotation is a bool


def forwarding_call(function: FunctionNode) -> ast.Call | None:
    """Return the call that gets the `**kwargs` of a function, if that is all it does with them."""
    assert function.args.kwarg is not None
    name = function.args.kwarg.arg
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
    if len(uses) != 1:
        return None
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            spread = [each.value for each in node.keywords if each.arg is None]
            starred = any(isinstance(each, ast.Starred) for each in node.args)
            if spread == uses and not starred:
                return node
    return None


def forwarded(own: Signature, call: ast.Call, taker: Signature) -> Signature:
    """Return the signature of a function that hands its further keywords to `taker` by `call`."""
    given = {*taker.positional[: len(call.args)]} | {each.arg for each in call.keywords}
    free = taker.keywords - given
    return replace(
        own,
        keywords=own.keywords | free,
        required=own.required | (taker.required & free),
        takes_kwargs=taker.takes_kwargs,
        switches=own.switches | (taker.switches & free),
    )
