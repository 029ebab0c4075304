"""A tensor of a notebook, and the variables that hold tensors."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tensor:
    """A tensor, or an object with tensors as attributes. `device` is None if it is not known."""

    device: str | None
    movable: bool = True  # has `.to`; a dictionary of tensors has not
    optional: bool = False  # may be None


@dataclass
class Frame:
    """Variables of the module or of a function. None: surely no tensor."""

    names: dict[str, Tensor | None] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    function: str = ""


def is_none(node: ast.expr | None) -> bool:
    """Whether an expression is the literal None."""
    return isinstance(node, ast.Constant) and node.value is None


def optional_parameters(arguments: ast.arguments) -> frozenset[str]:
    """Return the parameters that may be None, by their default or their annotation."""
    placed = [*arguments.posonlyargs, *arguments.args]
    first = len(placed) - len(arguments.defaults)
    pairs = [*zip(placed[first:], arguments.defaults, strict=True),
             *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]  # fmt: skip
    found = {each.arg for each, default in pairs if is_none(default)}
    for each in [*placed, *arguments.kwonlyargs]:
        annotation = ast.unparse(each.annotation) if each.annotation is not None else ""
        if re.search(r"\b(?:Optional|None)\b", annotation):
            found.add(each.arg)
    return frozenset(found)
