"""Ways of loading weights that run foreign code or hide missing weights, with the safe form."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from edge_glass.tools.code.expressions import argument, dotted, shown
from edge_glass.tools.code.program import Call, Program


def loading_problems(program: Program) -> Iterator[tuple[Call, str]]:
    """Yield the unsafe calls and what to write instead."""
    for call in program.calls:
        node = call.node
        name = dotted(node.func) or ""
        last = node.func.attr if isinstance(node.func, ast.Attribute) else name
        given = {each.arg: each.value for each in node.keywords}
        meaning = program.meaning(name, call.cell.index) or name
        if meaning == "torch.load" and None not in given and _is_unsafe(given):
            safe = _with(node, "weights_only", True)
            yield (
                call,
                (
                    f"`{shown(node)}` unpickles the file, which can run any code in it; "
                    f"write `{safe}`, or load a safetensors file"
                ),
            )
        elif last.startswith("load") and last != "loads" and _is_lenient(node, last):
            yield (
                call,
                (
                    f"`{shown(node)}` ignores missing and unknown weights; write `{_without(node)}`"
                    ", and rename or drop keys before if they are known to differ"
                ),
            )


def _is_unsafe(given: dict[str | None, ast.expr]) -> bool:
    """Whether `weights_only` is surely not given or not true; a variable may hold anything."""
    found = given.get("weights_only")
    return found is None or (isinstance(found, ast.Constant) and not found.value)


def _is_lenient(node: ast.Call, method: str) -> bool:
    """Whether a call gives `strict=False`, or False as the second place of `load_state_dict`."""
    place = 1 if method == "load_state_dict" else None
    found = argument(node, "strict", place)
    return isinstance(found, ast.Constant) and found.value is False


def _with(node: ast.Call, name: str, value: bool) -> str:
    kept = [each for each in node.keywords if each.arg != name]
    added = ast.keyword(arg=name, value=ast.Constant(value))
    return shown(ast.Call(func=node.func, args=node.args, keywords=[*kept, added]), 200)


def _without(node: ast.Call) -> str:
    kept = [each for each in node.keywords if each.arg != "strict"]
    args = node.args[:1] if len(kept) == len(node.keywords) else node.args
    return shown(ast.Call(func=node.func, args=args, keywords=kept), 200)
