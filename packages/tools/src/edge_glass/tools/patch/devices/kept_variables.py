"""Device variables whose very text the notebook needs: `device = "cuda"`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.patch.devices.model_calls import names_cpu

_KINDS = frozenset({"accelerator", "device_type"})
_TAKES_KIND = re.compile(r"(?:^|\.)(?:autocast|GradScaler)$")


def kept_variables(cells: Sequence[PythonCell]) -> frozenset[str]:
    """Return the variables that are compared, are keys, or name a kind of device.

    `device == "cuda"` no longer holds if `device` becomes `"cuda:0"`. To compare it with the CPU
    is no reason.
    """
    found: set[str] = set()
    for cell in cells:
        for node in cell.nodes:
            for each in _needed(node):
                name = _name(each)
                if name is not None:
                    found.add(name)
    return frozenset(found)


def _needed(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return [node.left]
        if isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            return [] if any(names_cpu(each) for each in sides) else sides
    elif isinstance(node, ast.Call):
        kinds = [each.value for each in node.keywords if each.arg in _KINDS]
        return kinds + (node.args[:1] if _TAKES_KIND.search(dotted(node.func) or "") else [])
    elif isinstance(node, ast.Subscript):
        return [node.slice]  # `batch_size[device]`
    elif isinstance(node, ast.Match):
        return [node.subject]
    return []


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Call) and dotted(node.func) == "str" and node.args:
        node = node.args[0]
    return node.id if isinstance(node, ast.Name) else None
